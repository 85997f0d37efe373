//! A PostgreSQL server that a test can crash, freeze and restart.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    postgres::{blocking, connect, other_user, programs, start_from_programs, start_replica, url_of},
    throwaway::Throwaway,
};

/// A PostgreSQL server of one test, with durable commits. Stopped with this value or with this process.
pub struct Cluster {
    url: String,
    data: PathBuf,
    server: Option<Throwaway>,
    _folder: TempDir,
}

impl Cluster {
    /// Starts a server from installed programs; `None` if there are none. Blocks for some seconds.
    ///
    /// # Panics
    /// If the programs do not run.
    pub fn start() -> Option<Self> {
        programs()?;
        let cluster = Self::own(start_from_programs);
        let url = cluster.url.clone();
        blocking(async move {
            let client = connect(&url).await?;
            // The last one asks the server to read the others.
            for setting in ["fsync = on", "full_page_writes = on", "synchronous_commit = on"] {
                client.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await?;
            }
            client.batch_execute("SELECT pg_reload_conf()").await
        })
        .expect("the server runs")
        .expect("the server can be set");
        Some(cluster)
    }

    /// Starts a replica of it. Blocks for some seconds.
    ///
    /// # Panics
    /// If the programs do not run.
    #[must_use]
    pub fn replica(&self) -> Self {
        let primary = self.server.as_ref().map_or(0, Throwaway::port);
        Self::own(|folder| start_replica(folder, primary))
    }

    fn own(start: impl FnOnce(&Path) -> Result<Throwaway, String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(folder.path(), open).expect("our own folder can be opened to others");
        let server = start(folder.path())
            .unwrap_or_else(|error| panic!("PostgreSQL's server programs do not run: {error}"));
        let made = std::fs::read_dir(folder.path()).ok().and_then(|mut entries| entries.next()?.ok());
        let data = made.expect("the server has a folder").path().join("data");
        Self { url: url_of(server.port()), data, server: Some(server), _folder: folder }
    }

    /// Returns its URL, as in `DATABASE_URL`.
    pub fn url(&self) -> String {
        format!("{}/postgres", self.url)
    }

    /// Makes it offer TLS with a certificate and its key, both in PEM.
    ///
    /// # Panics
    /// If it refuses them.
    pub fn enable_tls(&self, certificate: &str, key: &str) {
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let file = self.data.join(name);
            std::fs::write(&file, text).expect("the server's folder can be written");
            // It refuses a key that others can read.
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&file, private).expect("our own file can be closed to others");
            if let Ok(Some((user, group))) = other_user() {
                std::os::unix::fs::chown(&file, Some(user), Some(group)).expect("root may change the owner");
            }
        }
        let file = self.data.join("postgresql.conf");
        let settings = std::fs::read_to_string(&file).expect("the server has settings");
        std::fs::write(file, settings + "ssl = on\n").expect("the server's folder can be written");
        self.stop_and_start();
    }

    /// Replaces the rules by which it lets clients in: the lines of `pg_hba.conf`.
    ///
    /// # Panics
    /// If it refuses them.
    pub fn set_access(&self, rules: &str) {
        std::fs::write(self.data.join("pg_hba.conf"), rules).expect("the server's folder can be written");
        self.stop_and_start();
    }

    /// Stops it as a crash would: without a shutdown checkpoint, with recovery at the next start.
    pub fn crash(&self) {
        self.control(&["stop", "-m", "immediate"]);
    }

    /// Starts it again after a crash.
    pub fn restart(&self) {
        let log = self.data.with_file_name("log");
        self.control(&["start", "-t", "60", "-l", &log.to_string_lossy()]);
    }

    fn stop_and_start(&self) {
        self.control(&["stop", "-m", "fast"]);
        self.restart();
    }

    /// Suspends all its processes; connections stay open.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Resumes all its processes.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn control(&self, arguments: &[&str]) {
        let programs = programs().expect("they were there");
        let mut command = Command::new(programs.join("pg_ctl"));
        command.arg("-D").arg(&self.data).arg("-w").args(arguments);
        // A server that holds our output open would block us.
        command.current_dir("/").stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        if let Ok(Some((user, group))) = other_user() {
            use std::os::unix::process::CommandExt as _;
            command.uid(user).gid(group);
        }
        assert!(command.status().expect("pg_ctl runs").success(), "pg_ctl {arguments:?} failed");
    }

    fn signal(&self, signal: &str) {
        let Ok(pid) = std::fs::read_to_string(self.data.join("postmaster.pid")) else { return };
        let Some(pid) = pid.lines().next() else { return };
        // The postmaster first, so that it starts no new processes.
        let script = r#"kill "$1" "$2"
            for child in $(ps -o pid= --ppid "$2" || cat "/proc/$2/task/$2/children"); do kill "$1" "$child"; done"#;
        let _ = Command::new("sh").args(["-c", script, "sh", signal, pid]).status();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.thaw();
        drop(self.server.take());
    }
}
