//! Finds or starts PostgreSQL for the tests.

use std::{
    env,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use tokio_postgres::{Client, Config, NoTls};

use crate::throwaway::{Throwaway, folder_with, folders_like, id};

/// `$1`: the folder of the programs, `$2`: the port, `$3`: where its folder goes; `primary`: empty, or the
/// port of the server of which it becomes a replica. It opens no Unix socket, whose path could be
/// too long and which is not used. Data is not synced to the disk, because it is temporary.
const SCRIPT: &str = r#"
programs=$1 port=$2
folder=$(mktemp -d "$3/social-test-XXXXXXXX" 2>/dev/null || mktemp -d /tmp/social-test-XXXXXXXX) || exit 1
trap '"$programs/pg_ctl" -D "$folder/data" -m immediate -w stop; rm -rf "$folder"' EXIT
{
    if [ "$primary" ]; then
        "$programs/pg_basebackup" -D "$folder/data" -h 127.0.0.1 -p "$primary" -U postgres -R -c fast -N
    else
        "$programs/initdb" -D "$folder/data" -U postgres --auth=trust --encoding=UTF8 --no-locale --no-sync
    fi &&
    cat >> "$folder/data/postgresql.conf" <<END &&
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
max_connections = 300
fsync = off
full_page_writes = off
synchronous_commit = off
END
    "$programs/pg_ctl" -D "$folder/data" -l "$folder/log" -w -t 60 start
} </dev/null >"$folder/start" 2>&1 || {
    cat "$folder/log" 2>/dev/null
    grep -i -E 'error|fatal|could not|cannot' "$folder/start"
    trap 'rm -rf "$folder"' EXIT
    exit 1
}
echo "ready $port"
"#;

/// The PostgreSQL server for the tests of this process, one on which databases may be created: `TEST_DATABASE_URL`,
/// else one on 127.0.0.1:5432 that lets us in, else a new one that ends with this process, from installed programs
/// or in Docker. Blocks for a second or two if one has to be started.
///
/// # Panics
/// If there is none. The message explains how to provide one.
pub fn postgres_url() -> &'static str {
    static FOUND: OnceLock<Result<Server, String>> = OnceLock::new();
    match FOUND.get_or_init(find) {
        Ok(server) => &server.url,
        Err(sentence) => panic!("{sentence}"),
    }
}

struct Server {
    url: String,
    /// Holds the pipe that keeps a server of our own running.
    _own: Option<Throwaway>,
}

fn find() -> Result<Server, String> {
    if let Some(url) = env::var("TEST_DATABASE_URL").ok().filter(|url| !url.is_empty()) {
        return match may_create(&url) {
            Ok(true) => Ok(Server { url, _own: None }),
            Ok(false) => {
                Err("TEST_DATABASE_URL names a PostgreSQL user who may not create databases".to_owned())
            }
            Err(error) => Err(format!("TEST_DATABASE_URL names a PostgreSQL that cannot be used: {error}")),
        };
    }
    let password =
        env::var("PGPASSWORD").map(|password| format!(":{}", escaped(&password))).unwrap_or_default();
    let users = ["postgres".to_owned(), id(&["-un"]).unwrap_or_default()];
    for user in users.iter().filter(|user| !user.is_empty()) {
        let url = format!("postgres://{}{password}@127.0.0.1:5432", escaped(user));
        if may_create(&url) == Ok(true) {
            return Ok(Server { url, _own: None });
        }
    }
    let own = start_from_programs(&env::temp_dir()).or_else(|programs| {
        start_in_docker().map_err(|docker| {
            format!(
                "no PostgreSQL for the tests: install its server programs or Docker, let the user postgres in on \
                 127.0.0.1:5432, or set TEST_DATABASE_URL to a server on which databases may be created \
                 (programs: {programs}; Docker: {docker})"
            )
        })
    })?;
    Ok(Server { url: url_of(own.port()), _own: Some(own) })
}

pub(crate) fn url_of(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}")
}

/// Starts a new server from programs that are installed here, with its data in a new folder in `folder`.
pub(crate) fn start_from_programs(folder: &Path) -> Result<Throwaway, String> {
    start(folder, None)
}

/// Like `start_from_programs`, for a replica of the server at this port.
pub(crate) fn start_replica(folder: &Path, primary: u16) -> Result<Throwaway, String> {
    start(folder, Some(primary))
}

fn start(folder: &Path, primary: Option<u16>) -> Result<Throwaway, String> {
    let programs = programs().ok_or("initdb and pg_ctl are not installed")?;
    let primary = primary.map(|port| port.to_string()).unwrap_or_default();
    let script = format!("primary={primary}\n{SCRIPT}");
    Throwaway::start_on_free_port(&script, &programs, folder, other_user()?)
        .map_err(|error| format!("{} does not start: {error}", programs.join("postgres").display()))
}

/// Where the server's programs are installed: only `initdb` and `pg_ctl` of one folder belong together.
pub(crate) fn programs() -> Option<PathBuf> {
    // Debian, Red Hat, Alpine, its own `make install`, Homebrew on both kinds of Mac, Postgres.app.
    let likely = folders_like("/usr/lib/postgresql/", "/bin")
        .into_iter()
        .chain(folders_like("/usr/pgsql-", "/bin"))
        .chain(folders_like("/usr/libexec/postgresql", ""))
        .chain([PathBuf::from("/usr/local/pgsql/bin")])
        .chain(folders_like("/opt/homebrew/opt/postgresql@", "/bin"))
        .chain(folders_like("/usr/local/opt/postgresql@", "/bin"))
        .chain([PathBuf::from("/Applications/Postgres.app/Contents/Versions/latest/bin")]);
    folder_with(&["initdb", "pg_basebackup", "pg_ctl", "postgres"], likely)
}

/// Returns the user and group to run it as if this process is root: PostgreSQL refuses to run as root.
pub(crate) fn other_user() -> Result<Option<(u32, u32)>, String> {
    let number = |arguments: &[&str]| id(arguments)?.parse::<u32>().ok();
    if number(&["-u"]) != Some(0) {
        return Ok(None);
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| Some((number(&["-u", name])?, number(&["-g", name])?)))
        .map(Some)
        .ok_or_else(|| "it refuses to run as root, and there is no user postgres or nobody".to_owned())
}

fn start_in_docker() -> Result<Throwaway, String> {
    let options = [
        "--env",
        "POSTGRES_HOST_AUTH_METHOD=trust",
        "postgres:17-alpine",
        "-c",
        "fsync=off",
        "-c",
        "full_page_writes=off",
        "-c",
        "max_connections=300",
    ];
    Throwaway::start_in_docker(5432, &options, |port| may_create(&url_of(port)) == Ok(true))
}

/// Returns whether its user may create databases.
///
/// # Errors
/// If the server cannot be queried.
fn may_create(url: &str) -> Result<bool, String> {
    let url = url.to_owned();
    let query = async move {
        let client = connect(&url).await?;
        let rights = "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user";
        client.query_one(rights, &[]).await?.try_get(0)
    };
    // A server that accepts connections but sends nothing must not block the tests.
    let result = blocking(async { tokio::time::timeout(Duration::from_secs(5), query).await })?;
    result
        .map_err(|_| "it does not respond".to_owned())?
        .map_err(|error: tokio_postgres::Error| in_full(&error))
}

/// Returns the error with its causes: the message of tokio-postgres alone is only "db error".
fn in_full(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A connection to the database that `url` names, or to `postgres`, which every server has.
pub(crate) async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config: Config = url.parse()?;
    if config.get_dbname().is_none() {
        config.dbname("postgres");
    }
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Runs `future` to its end on a thread of its own: the caller may be inside a runtime already, or in a `drop`,
/// where a panic would be one too many.
pub(crate) fn blocking<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::io::Result::Ok(runtime.block_on(future))
    };
    let thread = std::thread::Builder::new().spawn(run).map_err(|error| error.to_string())?;
    match thread.join() {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("the task panicked".to_owned()),
    }
}

/// `text` as it may stand for a user or a password in an address.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throwaway::tests::{is_empty, is_open, open_folder};

    #[test]
    fn started_server_responds_and_is_removed() {
        if programs().is_none() {
            return crate::not_tested("PostgreSQL's server programs are not installed");
        }
        let folder = open_folder();
        let server = start_from_programs(folder.path()).unwrap();
        let port = server.port();
        assert_eq!(may_create(&url_of(port)), Ok(true));
        assert!(!is_empty(folder.path()));

        drop(server);
        assert!(!is_open(port));
        assert!(is_empty(folder.path()));
    }

    #[test]
    fn failed_start_returns_the_reason_and_leaves_no_folder() {
        let Some(programs) = programs() else {
            return crate::not_tested("PostgreSQL's server programs are not installed");
        };
        let folder = open_folder();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let arguments = [programs.as_os_str(), port.as_ref(), folder.path().as_os_str()];
        let error = Throwaway::start(SCRIPT, arguments, other_user().unwrap()).err().unwrap();
        assert!(error.contains("could not"), "{error}");
        assert!(is_empty(folder.path()));
    }

    #[test]
    fn reserved_characters_in_urls_are_escaped() {
        assert_eq!(escaped("a/b@c:d"), "a%2Fb%40c%3Ad");
    }
}
