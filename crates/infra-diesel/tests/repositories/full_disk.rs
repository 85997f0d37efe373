//! SQLite on a full disk.

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use domain::{Error, passwords::PasswordHash, sessions::SessionId};
use infra_diesel::{DatabaseConfig, DatabaseUrl};

use crate::helpers::{now, post, session, user};

/// Environment variable with the path of the small disk, set for the second run of the test.
const SMALL_DISK: &str = "TEST_SMALL_DISK";

/// Number of sessions whose ends would fill more than the reserved space if each took new space.
const SESSIONS: i64 = 4_000;

/// Runs itself again in a mount namespace with a file system of 64 MiB. That needs no privileges, but not every system
/// allows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_sessions_can_be_ended_on_a_full_disk() {
    if let Some(disk) = env::var_os(SMALL_DISK) {
        return end_sessions(PathBuf::from(disk)).await;
    }
    let disk = tempfile::tempdir().unwrap();
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"]);
        command.arg(disk.path());
        command
    };
    let mount = "mount -t tmpfs -o size=64m tmpfs \"$1\"";
    if !in_namespace(mount).output().is_ok_and(|output| output.status.success()) {
        return test_support::not_tested("this system does not allow users to mount file systems");
    }
    let output = in_namespace(&format!("{mount}; shift; exec \"$@\""))
        .arg(env::current_exe().unwrap())
        .args(["--exact", "full_disk::any_number_of_sessions_can_be_ended_on_a_full_disk", "--nocapture"])
        .env(SMALL_DISK, disk.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
}

async fn end_sessions(disk: PathBuf) {
    let url = DatabaseUrl::Sqlite(disk.join("db.sqlite3"));
    infra_diesel::migrate(&url, false).await.unwrap();
    let timeout = Duration::from_secs(20);
    let config = DatabaseConfig { url, replica: None, connections: 2, workers: 0, timeout };
    let db = infra_diesel::connect(&config).await.unwrap();
    let ann = user(&db, "ann", 1).await;
    for id in 2..=SESSIONS {
        let password = PasswordHash("hash of ann".into());
        assert!(db.sessions.create(ann, password, session(id)).await.unwrap());
    }
    let filler = disk.join("filler");
    let mut file = File::create(&filler).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    for id in 1..=SESSIONS {
        assert!(db.sessions.end(ann, SessionId(id), now()).await.unwrap(), "{id}");
        if id % 1_000 == 0 {
            // Nothing else uses the space that was reserved.
            let refused = db.follows.follow(ann, ann, now()).await.unwrap_err();
            assert_eq!(refused, Error::STORAGE_FULL);
        }
    }
    drop(file);
    fs::remove_file(filler).unwrap();
    post(&db, ann, "hi", false).await;
}
