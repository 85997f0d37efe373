//! Starts PgBouncer, a connection pooler, in front of the PostgreSQL of the tests.

use std::path::PathBuf;

use tokio_postgres::{Config, config::Host};

use crate::{
    postgres::{other_user, postgres_url},
    throwaway::{Throwaway, folder_with},
};

/// `$1`: the program, `$2`: the port, `$3`: where to put its folder; `database`: how it connects, `settings`: further
/// lines of its file.
const SCRIPT: &str = r#"
program=$1; port=$2
folder=$(mktemp -d "$3/social-test-XXXXXXXX") || exit 1
cat > "$folder/ini" <<END
[databases]
* = $database
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
$settings
END
"$program" "$folder/ini" </dev/null >"$folder/log" 2>&1 &
server=$!
trap 'kill "$server"; wait "$server"; rm -rf "$folder"' EXIT
until grep -q 'process up' "$folder/log"; do
    kill -0 "$server" 2>/dev/null || { tail -n 1 "$folder/log"; trap 'rm -rf "$folder"' EXIT; exit 1; }
    sleep 0.05
done
echo "ready $port"
"#;

/// A PgBouncer of one test, stopped with this value or with this process.
pub struct PgBouncer(Throwaway);

impl PgBouncer {
    /// Starts it with these settings, lines of its file; `None` if it is not installed.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(settings: &str) -> Option<Self> {
        let program =
            folder_with(&["pgbouncer"], ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from))?
                .join("pgbouncer");
        let server: Config = postgres_url().parse().expect("the URL of the tests' server is valid");
        let host = match &server.get_hosts()[0] {
            Host::Tcp(host) => host.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let port = server.get_ports().first().copied().unwrap_or(5432);
        let user = server.get_user().unwrap_or("postgres");
        let password = server.get_password().map(String::from_utf8_lossy);
        let password = password.map(|password| format!(" password={password}")).unwrap_or_default();
        let database = format!("host={host} port={port} user={user}{password}");
        let script = format!("database='{database}'\nsettings='{settings}'\n{SCRIPT}");
        let user = other_user().expect("there is a user to run it as");
        let started = Throwaway::start_on_free_port(&script, &program, &std::env::temp_dir(), user);
        Some(Self(started.unwrap_or_else(|error| panic!("PgBouncer does not start: {error}"))))
    }

    /// Returns the URL of a database behind it, by the database's own URL.
    pub fn url_of(&self, database: &str) -> String {
        let address = database.split('?').next().unwrap_or_default();
        let name = address.rsplit('/').next().unwrap_or_default();
        format!("postgres://anyone@127.0.0.1:{}/{name}", self.0.port())
    }
}
