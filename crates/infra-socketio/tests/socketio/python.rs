//! The Python client.

use std::{fs, path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::server::{TestServer, token};

const SCRIPT: &str = include_str!("../python/client.py");

/// Returns a Python with the client installed, in the target directory. `None` without Python.
fn python() -> Option<PathBuf> {
    Command::new("python3")
        .args(["-m", "venv", "--help"])
        .output()
        .ok()
        .filter(|out| out.status.success())?;
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("socketio-python");
    fs::create_dir_all(&folder).unwrap();
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let python = folder.join("venv/bin/python");
    if !folder.join("installed").exists() {
        let run = |program: &PathBuf, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).current_dir(&folder).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        run(&PathBuf::from("python3"), &["-m", "venv", "venv"]);
        run(&python, &["-m", "pip", "install", "--quiet", "python-socketio[client]"]);
        fs::write(folder.join("installed"), "").unwrap();
    }
    fs::write(folder.join("client.py"), SCRIPT).unwrap();
    Some(python)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_client_is_served() {
    let Some(python) = tokio::task::spawn_blocking(python).await.unwrap() else {
        return test_support::not_tested("Python 3 with venv is not installed");
    };
    let server = TestServer::start();
    let first = server.like(1, 1);
    for transport in ["websocket", "polling"] {
        let mut command = Command::new(&python);
        command.arg(python.parent().unwrap().join("../../client.py"));
        command.args([&server.url(), transport, &token(1, 1)]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let events: Vec<(String, Value)> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let data = |event: &str| &events.iter().find(|(name, _)| name == event).unwrap().1;
        assert_eq!(data("refused"), "Connection rejected by server", "{transport}");
        assert_eq!(data("connected")["user_id"], 1, "{transport}");
        assert_eq!(data("new_notification")["id"], first, "{transport}");
        assert_eq!(data("replay_complete"), &json!({"count": 1, "truncated": false}), "{transport}");
    }
}
