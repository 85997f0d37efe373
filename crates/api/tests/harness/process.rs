//! The program in a process of its own, as operators run it.

use std::{
    fs::OpenOptions,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::time::sleep;

use super::ApiClient;

const START_TIMEOUT: Duration = Duration::from_mins(1);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The program with these environment variables and no others.
pub(crate) fn command(folder: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api"));
    command.env_clear().env("DATA_DIR", folder.join("data")).envs(settings.iter().copied());
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs the program until it exits: whether it succeeded, and everything it printed.
pub(crate) fn run_command(folder: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = command(folder, settings).args(arguments).output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

/// A server process that can be killed and started again at the same address. Killed when dropped.
pub(crate) struct Process {
    client: ApiClient,
    folder: TempDir,
    settings: Vec<(String, String)>,
    /// Size limit of the files it can write, in bytes.
    pub(crate) max_file_size: Option<u32>,
    /// Soft limit of the number of files it can open.
    pub(crate) max_open_files: Option<u32>,
    /// Size of the file system at its data directory, if it has one of its own.
    data_disk: Option<&'static str>,
    /// Whether the standard output is an unread pipe, instead of the log file.
    pub(crate) has_unread_output: bool,
    child: Option<Child>,
}

impl Process {
    /// A process that is not started yet, with the defaults of tests.
    pub(crate) fn new(settings: &[(&str, &str)]) -> Self {
        let defaults = [("AUTO_MIGRATE", "true"), ("RATE_LIMIT_SCALE", "0")];
        Self::without_defaults(&[&defaults, settings].concat())
    }

    /// A process that is not started yet, with these settings only.
    pub(crate) fn without_defaults(settings: &[(&str, &str)]) -> Self {
        let port = test_support::quiet_port().to_string();
        let own = [("HOST", "127.0.0.1"), ("PORT", &*port)];
        let settings = own.iter().chain(settings);
        Self {
            client: ApiClient::new(format!("http://127.0.0.1:{port}")),
            folder: tempfile::tempdir().unwrap(),
            settings: settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            max_file_size: None,
            max_open_files: None,
            data_disk: None,
            has_unread_output: false,
            child: None,
        }
    }

    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let mut process = Self::new(settings);
        process.launch().await;
        process
    }

    /// Starts the program, for the first time or again, and waits until it is ready.
    pub(crate) async fn launch(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = command(self.folder(), &self.settings());
        if let Some(size) = self.max_file_size {
            // `ulimit` counts blocks of 512 bytes. Without the trap, the first write above the limit kills the process.
            command = after_script(&command, &format!("trap '' XFSZ; ulimit -f {}", size / 512));
        }
        if let Some(count) = self.max_open_files {
            command = after_script(&command, &format!("ulimit -Sn {count}"));
        }
        if let Some(size) = self.data_disk {
            command = in_namespace(&command, &self.mount_command(size));
        }
        let stdout = if self.has_unread_output { Stdio::piped() } else { log.try_clone().unwrap().into() };
        self.child = Some(command.stdout(stdout).stderr(log).spawn().unwrap());
        let start = Instant::now();
        while !self.is_ready().await {
            assert!(!self.has_exited() && start.elapsed() < START_TIMEOUT, "not ready: {}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Gives the process a data directory on a file system of its own, in memory and of this size: it ends with the process.
    /// That needs no privileges, but returns false where the system does not allow it.
    pub(crate) fn mount_data_dir(&mut self, size: &'static str) -> bool {
        std::fs::create_dir_all(self.data_dir()).unwrap();
        self.data_disk = Some(size);
        let mut attempt = in_namespace(&Command::new("true"), &self.mount_command(size));
        attempt.output().is_ok_and(|output| output.status.success())
    }

    fn mount_command(&self, size: &str) -> String {
        format!("mount -t tmpfs -o size={size} tmpfs '{}'", self.data_dir().display())
    }

    /// Returns the path by which the test reaches a file of a mounted data directory.
    pub(crate) fn inside(&self, path: &Path) -> PathBuf {
        let id = self.child.as_ref().unwrap().id();
        Path::new(&format!("/proc/{id}/root")).join(path.strip_prefix("/").unwrap())
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends SIGTERM.
    pub(crate) fn request_stop(&self) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Sends SIGTERM and waits until the process has ended: its exit code and how long it took.
    ///
    /// # Panics
    /// If the process has not ended after half a minute.
    pub(crate) async fn stop(&mut self) -> (Option<i32>, Duration) {
        let start = Instant::now();
        self.request_stop();
        (self.wait().await, start.elapsed())
    }

    /// Waits until the process has ended and returns its exit code.
    ///
    /// # Panics
    /// If the process has not ended after half a minute.
    pub(crate) async fn wait(&mut self) -> Option<i32> {
        let start = Instant::now();
        while !self.has_exited() {
            assert!(start.elapsed() < STOP_TIMEOUT, "does not stop: {}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
        self.child.take().unwrap().wait().unwrap().code()
    }

    pub(crate) fn has_exited(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    pub(crate) async fn is_ready(&self) -> bool {
        matches!(self.try_send(self.request(reqwest::Method::GET, "/readyz")).await, Some((200, _)))
    }

    /// Runs another command of the program with the same settings.
    pub(crate) fn run(&self, arguments: &[&str]) -> (bool, String) {
        run_command(self.folder(), &self.settings(), arguments)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// Returns everything the process has printed since its first start. Lines about requests are written with a
    /// delay of up to 100 ms.
    pub(crate) fn log(&self) -> String {
        std::thread::sleep(Duration::from_millis(250));
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("log")
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(name, value)| (&**name, &**value)).collect()
    }
}

/// The same command, run by a shell after this script.
fn after_script(command: &Command, script: &str) -> Command {
    run_by(Command::new("sh"), command, script)
}

/// The same command, run after this script in a namespace in which users may mount file systems.
fn in_namespace(command: &Command, script: &str) -> Command {
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--map-root-user", "--mount", "sh"]);
    run_by(shell, command, &format!("set -e; {script}"))
}

fn run_by(mut shell: Command, command: &Command, script: &str) -> Command {
    shell.args(["-c", &format!("{script}; exec \"$0\"")]).arg(command.get_program()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell.stdin(Stdio::null());
    shell
}

impl Deref for Process {
    type Target = ApiClient;

    fn deref(&self) -> &ApiClient {
        &self.client
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
