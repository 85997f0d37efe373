//! Servers that are stopped with the test process that started them.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Runs the container `docker run $options`, whose port `$1` is published on the loopback interface.
const DOCKER: &str = r#"
inner=$1; shift
container=$(docker run --rm --detach --publish "127.0.0.1::$inner" "$@") || exit 1
trap 'docker rm --force "$container"' EXIT
port=$(docker port "$container" "$inner/tcp") || exit 1
echo "ready ${port##*:}"
"#;

/// Beginning of every script: errors are written to the standard output, and a signal runs the clean-up.
const BEGIN: &str = "exec 2>&1; trap 'exit 1' HUP INT TERM\n";

/// End of every script: its standard input is a pipe that only the test process holds, so it is closed
/// when that process ends, in whatever way, SIGKILL included.
const WAIT_FOR_THE_END: &str = "exec >/dev/null 2>&1\nwhile read -r _; do :; done\n";

/// A server that ends when this value is dropped or when this process ends.
///
/// A watchdog, a shell script, starts it, waits until this process lets go of a pipe, then stops it and removes
/// its folder. (A `Drop` alone would not do: statics are never dropped, nor is anything when a process is killed.)
pub(crate) struct Throwaway {
    watchdog: Child,
    port: u16,
}

impl Throwaway {
    /// Runs `script`, which sets `trap … EXIT` to clean up after itself and prints `ready PORT` as its last line,
    /// or else the reason why it failed; as the user and group given, or as this process's own.
    pub(crate) fn start<A: AsRef<OsStr>>(
        script: &str,
        arguments: impl IntoIterator<Item = A>,
        user: Option<(u32, u32)>,
    ) -> Result<Self, String> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{BEGIN}{script}{WAIT_FOR_THE_END}")).arg("sh").args(arguments);
        // A folder that the other user may not enter would keep programs from starting.
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Ctrl-C and a test runner's SIGKILL go to the test's process group: the watchdog has to outlive both.
        command.process_group(0);
        if let Some((user, group)) = user {
            command.uid(user).gid(group);
        }
        let mut watchdog = command.spawn().map_err(|error| format!("sh does not start: {error}"))?;
        let mut output = Vec::new();
        if let Some(mut stdout) = watchdog.stdout.take() {
            stdout.read_to_end(&mut output).ok();
        }
        // From here on, whatever happens, dropping it ends the watchdog.
        let mut server = Self { watchdog, port: 0 };
        let output = String::from_utf8_lossy(&output);
        let last =
            output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it printed nothing").trim();
        server.port =
            last.strip_prefix("ready ").and_then(|port| port.parse().ok()).ok_or_else(|| last.to_owned())?;
        Ok(server)
    }

    /// Like `start`, but passes a free port to the script, and tries another one if it was taken meanwhile.
    pub(crate) fn start_on_free_port(
        script: &str,
        program: &Path,
        folder: &Path,
        user: Option<(u32, u32)>,
    ) -> Result<Self, String> {
        let mut last = String::new();
        for _ in 0..3 {
            let port = free_port().map_err(|error| format!("no free port: {error}"))?.to_string();
            match Self::start(script, [program.as_os_str(), port.as_ref(), folder.as_os_str()], user) {
                Ok(server) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Starts a container and waits until `responds` returns true for its port. `options` are those of `docker run`,
    /// the image and its command.
    pub(crate) fn start_in_docker(
        port: u16,
        options: &[&str],
        responds: impl Fn(u16) -> bool,
    ) -> Result<Self, String> {
        let port = port.to_string();
        let server =
            Self::start(DOCKER, std::iter::once(port.as_str()).chain(options.iter().copied()), None)?;
        let since = Instant::now();
        while !responds(server.port) {
            if since.elapsed() > Duration::from_mins(1) {
                return Err("the server in the container did not respond within a minute".to_owned());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// Its port on the loopback interface.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        self.watchdog.wait().ok();
    }
}

/// Returns a port that is free now, but may be taken before it is used.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Returns a free port of the loopback interface outside the ephemeral range, so that it stays free while a server is
/// down.
///
/// # Panics
/// If there is none.
pub fn quiet_port() -> u16 {
    let given = free_port().expect("the system gives out a port");
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (given / 2..given).find(is_free).expect("there is a free port")
}

/// The first of `folders`, then of those in `PATH`, that holds all of `programs`.
pub(crate) fn folder_with(programs: &[&str], folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders
        .into_iter()
        .chain(std::env::split_paths(&path))
        .find(|folder| programs.iter().all(|program| folder.join(program).is_file()))
}

/// The folders whose path is `before`, then anything without a slash, then `after`; the last by name first.
pub(crate) fn folders_like(before: &str, after: &str) -> Vec<PathBuf> {
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let names =
        fs::read_dir(format!("{parent}/")).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> =
        names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(prefix)).collect();
    // Longer first, so that 17 comes before 9.6.
    names.sort_by_key(|name| std::cmp::Reverse((name.len(), name.clone())));
    names.iter().map(|name| Path::new(parent).join(format!("{name}{after}"))).collect()
}

/// Returns the output of `id` with these arguments, if it knows the user.
pub(crate) fn id(arguments: &[&str]) -> Option<String> {
    let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        fs::Permissions,
        io::{BufRead, BufReader},
        net::TcpStream,
        os::unix::fs::PermissionsExt,
    };

    use super::*;
    use crate::{postgres, redis};

    /// Folder for the servers of the test below, which runs as its own process.
    const FOLDER_OF_CHILD: &str = "TEST_SUPPORT_FOLDER_OF_CHILD";

    /// A temporary folder in which every user can make folders.
    pub(crate) fn open_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        folder
    }

    pub(crate) fn is_empty(folder: &Path) -> bool {
        fs::read_dir(folder).unwrap().next().is_none()
    }

    pub(crate) fn is_open(port: u16) -> bool {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    }

    #[test]
    fn last_line_of_a_failed_script_is_the_reason() {
        let failed = Throwaway::start("echo first; echo second; echo; exit 1\n", [""; 0], None);
        assert_eq!(failed.err().as_deref(), Some("second"));
    }

    #[test]
    #[ignore = "run by servers_stop_when_the_process_is_killed, which kills it"]
    fn process_that_holds_servers() {
        let Some(folder) = std::env::var_os(FOLDER_OF_CHILD) else { return };
        let postgres = postgres::start_from_programs(Path::new(&folder)).unwrap();
        let redis = redis::start_from_programs(Path::new(&folder)).unwrap();
        println!("\nports {} {}", postgres.port(), redis.port());
        std::thread::sleep(Duration::from_mins(1));
    }

    #[test]
    fn servers_stop_when_the_process_is_killed() {
        if postgres::programs().is_none() || redis::program().is_none() {
            return crate::not_tested("the servers' programs are not installed");
        }
        let folder = open_folder();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "throwaway::tests::process_that_holds_servers", "--ignored", "--nocapture"])
            .env(FOLDER_OF_CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ports: Vec<u16> = lines
            .filter_map(|line| line.strip_prefix("ports ").map(str::to_owned))
            .take(1)
            .flat_map(|ports| ports.split(' ').map(|port| port.parse().unwrap()).collect::<Vec<_>>())
            .collect();
        assert_eq!(ports.iter().filter(|port| is_open(**port)).count(), 2, "both servers run");
        assert!(!is_empty(folder.path()));

        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();

        let since = Instant::now();
        while ports.iter().any(|port| is_open(*port)) || !is_empty(folder.path()) {
            assert!(
                since.elapsed() < Duration::from_secs(20),
                "the servers or their folders are still there"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
