//! Finds or starts Redis for the tests.

use std::{
    env,
    ffi::OsString,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use crate::throwaway::{Throwaway, folder_with, quiet_port};

/// `$1`: the program, `$2`: the port, `$3`: where to put its folder, then options of the program. Its own log
/// decides when it is ready: another server could respond on the port.
const SCRIPT: &str = r#"
program=$1; port=$2
folder=$(mktemp -d "$3/social-test-XXXXXXXX") || exit 1
shift 3
"$program" --bind 127.0.0.1 --port "$port" --dir "$folder" --save '' --appendonly no --daemonize no "$@" \
    </dev/null >"$folder/log" 2>&1 &
server=$!
trap 'kill "$server"; wait "$server"; rm -rf "$folder"' EXIT
until grep -q 'eady to accept connections' "$folder/log"; do
    kill -0 "$server" 2>/dev/null || { tail -n 1 "$folder/log"; trap 'rm -rf "$folder"' EXIT; exit 1; }
    sleep 0.05
done
echo "ready $port"
"#;

/// The Redis server for the tests of this process: `TEST_REDIS_URL`, else one on 127.0.0.1:6379 that lets us in,
/// else a new one that ends with this process, from an installed program or in Docker. Others may use it at the
/// same time: begin every key and channel with something random.
///
/// # Panics
/// If there is none. The message explains how to provide one.
pub fn redis_url() -> &'static str {
    static FOUND: OnceLock<Result<Server, String>> = OnceLock::new();
    match FOUND.get_or_init(find) {
        Ok(server) => &server.url,
        Err(sentence) => panic!("{sentence}"),
    }
}

/// A Redis server of one test, which can be stopped and started again at the same address.
pub struct OwnRedis {
    program: PathBuf,
    port: u16,
    tls: Option<(PathBuf, PathBuf)>,
    running: Option<Throwaway>,
}

impl OwnRedis {
    /// Starts it; `None` where no program for it is installed.
    ///
    /// # Panics
    /// If the program does not start.
    pub fn start() -> Option<Self> {
        Self::start_with(None)
    }

    /// Starts a server that accepts TLS only, with this certificate and key.
    ///
    /// # Panics
    /// If the program does not start.
    pub fn start_tls(certificate: PathBuf, key: PathBuf) -> Option<Self> {
        Self::start_with(Some((certificate, key)))
    }

    fn start_with(tls: Option<(PathBuf, PathBuf)>) -> Option<Self> {
        let mut redis = Self { program: program()?, port: quiet_port(), tls, running: None };
        redis.start_again();
        Some(redis)
    }

    /// Returns its URL, as in `REDIS_URL`.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://localhost:{}", self.port)
    }

    /// Stops it.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Starts it again, empty.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        let (port, folder) = (self.port.to_string(), env::temp_dir());
        let mut arguments: Vec<OsString> =
            vec![self.program.clone().into(), port.clone().into(), folder.into()];
        if let Some((certificate, key)) = &self.tls {
            // The last setting of a port holds.
            let options = ["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"];
            arguments.extend(options.map(OsString::from));
            arguments.extend(["--tls-cert-file".into(), certificate.clone().into()]);
            arguments.extend(["--tls-key-file".into(), key.clone().into()]);
        }
        let started = Throwaway::start(SCRIPT, arguments, None);
        self.running = Some(started.unwrap_or_else(|error| panic!("Redis does not start: {error}")));
    }
}

struct Server {
    url: String,
    /// Holds the pipe that keeps a server of our own running.
    _own: Option<Throwaway>,
}

fn find() -> Result<Server, String> {
    if let Some(url) = env::var("TEST_REDIS_URL").ok().filter(|url| !url.is_empty()) {
        return Ok(Server { url, _own: None });
    }
    if responds(6379) {
        return Ok(Server { url: url_of(6379), _own: None });
    }
    let own = start_from_programs(&env::temp_dir()).or_else(|program| {
        start_in_docker().map_err(|docker| {
            format!(
                "no Redis for the tests: install redis-server or Docker, start one on 127.0.0.1:6379 without a \
                 password, or set TEST_REDIS_URL (program: {program}; Docker: {docker})"
            )
        })
    })?;
    Ok(Server { url: url_of(own.port()), _own: Some(own) })
}

fn url_of(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

/// Starts a new server from a program that is installed here, with a new folder in `folder`.
pub(crate) fn start_from_programs(folder: &Path) -> Result<Throwaway, String> {
    let program = program().ok_or("redis-server is not installed")?;
    Throwaway::start_on_free_port(SCRIPT, &program, folder, None)
        .map_err(|error| format!("{} does not start: {error}", program.display()))
}

/// The server's program; Valkey's will do.
pub(crate) fn program() -> Option<PathBuf> {
    let likely = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from);
    ["redis-server", "valkey-server"]
        .into_iter()
        .find_map(|name| Some(folder_with(&[name], likely.clone())?.join(name)))
}

fn start_in_docker() -> Result<Throwaway, String> {
    Throwaway::start_in_docker(6379, &["redis:7-alpine", "redis-server", "--save", ""], responds)
}

/// Returns whether a Redis without a password listens at this port.
fn responds(port: u16) -> bool {
    let ping = || {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"PING\r\n")?;
        let mut response = [0; 5];
        stream.read_exact(&mut response)?;
        std::io::Result::Ok(&response == b"+PONG")
    };
    ping().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throwaway::tests::{is_empty, is_open, open_folder};

    #[test]
    fn started_server_responds_and_is_removed() {
        if program().is_none() {
            return crate::not_tested("redis-server is not installed");
        }
        let folder = open_folder();
        let server = start_from_programs(folder.path()).unwrap();
        let port = server.port();
        assert!(responds(port));
        assert!(!is_empty(folder.path()));

        drop(server);
        assert!(!is_open(port));
        assert!(is_empty(folder.path()));
    }

    #[test]
    fn failed_start_returns_the_reason_and_leaves_no_folder() {
        let Some(program) = program() else {
            return crate::not_tested("redis-server is not installed");
        };
        let folder = open_folder();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let arguments = [program.as_os_str(), port.as_ref(), folder.path().as_os_str()];
        let error = Throwaway::start(SCRIPT, arguments, None).err().unwrap();
        assert!(error.contains("Failed listening"), "{error}");
        assert!(is_empty(folder.path()));
    }

    #[test]
    fn found_server_responds() {
        let port = redis_url().rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok());
        assert!(port.is_none_or(responds));
    }
}
