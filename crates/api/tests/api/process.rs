//! The program in a process of its own, as operators run it.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    time::{Duration, Instant},
};

use crate::helpers::Rest;

/// The program with these settings and no others, in a folder of its own.
pub(crate) fn program(folder: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api"));
    command
        .env_clear()
        .envs(settings.iter().copied())
        .env("DATA_DIR", folder.join("data"))
        .current_dir(folder);
    command
}

/// Runs it to its end: whether it succeeded, and what it said.
pub(crate) fn api(folder: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = program(folder, settings).args(arguments).output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

/// A server that has come up, killed with this value if it has not ended by itself.
pub(crate) struct Serving(pub(crate) Child);

impl Serving {
    pub(crate) fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::wait_for(program(folder, settings), folder, settings)
    }

    /// What this command starts.
    pub(crate) fn wait_for(mut command: Command, folder: &Path, settings: &[(&str, &str)]) -> Self {
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut serving = Self(command.stdout(log).spawn().unwrap());
        let begun = Instant::now();
        while !api(folder, settings, &["healthcheck"]).0 {
            assert!(serving.0.try_wait().unwrap().is_none(), "the server has ended");
            assert!(begun.elapsed() < Duration::from_mins(1), "the server does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        serving
    }

    pub(crate) fn ask_to_stop(&self) {
        let killed = Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status().unwrap();
        assert!(killed.success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server process with its REST, which can be killed and started again at the same address.
pub(crate) struct Process {
    rest: Rest,
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
    /// The largest file that it can write, in bytes.
    largest: Option<u32>,
    serving: Option<Serving>,
}

/// The same command, which cannot write files larger than this.
fn limited(command: &Command, largest: u32) -> Command {
    let mut shell = Command::new("sh");
    // In blocks of 512 bytes. Without the trap, the first such write would be a signal that ends it.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\"", largest / 512);
    shell.args(["-c", &script]).arg(command.get_program()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(command.get_current_dir().unwrap());
    shell
}

impl Process {
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_limited(settings, None).await
    }

    /// One that can write no larger files than this, in bytes.
    pub(crate) async fn start_limited(settings: &[(&str, &str)], largest: Option<u32>) -> Self {
        let port = test_support::quiet_port().to_string();
        let defaults = [
            ("HOST", "127.0.0.1"),
            ("PORT", &*port),
            ("AUTO_MIGRATE", "true"),
            ("RATE_LIMIT_SCALE", "0"),
            ("DATABASE_CONNECTIONS", "6"),
            ("SECRET_KEY", "7c1f0e6a5b94d3827c1f0e6a5b94d3827c1f0e6a"),
            ("RUST_LOG", "warn"),
        ];
        let settings = defaults.iter().chain(settings);
        let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let rest = Rest::new(format!("http://127.0.0.1:{port}"));
        let folder = tempfile::tempdir().unwrap();
        let mut process = Self { rest, folder, settings, largest, serving: None };
        process.start_again().await;
        process
    }

    pub(crate) async fn start_again(&mut self) {
        let (folder, settings, largest) =
            (self.folder.path().to_owned(), self.settings.clone(), self.largest);
        let serving = tokio::task::spawn_blocking(move || {
            let settings: Vec<_> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
            let mut command = program(&folder, &settings);
            if let Some(largest) = largest {
                command = limited(&command, largest);
            }
            Serving::wait_for(command, &folder, &settings)
        });
        self.serving = Some(serving.await.unwrap());
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Asks it to stop, and waits: whether it has ended well.
    pub(crate) async fn stop(&mut self) -> bool {
        let mut serving = self.serving.take().unwrap();
        serving.ask_to_stop();
        tokio::task::spawn_blocking(move || serving.0.wait().unwrap().success()).await.unwrap()
    }

    /// What it has logged since it started. A line about a request may wait for 100 ms.
    pub(crate) fn log(&self) -> String {
        std::thread::sleep(Duration::from_millis(250));
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// SIGKILL: it gets no chance to do anything more.
    pub(crate) fn kill(&mut self) {
        self.serving = None;
    }
}

impl Deref for Process {
    type Target = Rest;

    fn deref(&self) -> &Rest {
        &self.rest
    }
}
