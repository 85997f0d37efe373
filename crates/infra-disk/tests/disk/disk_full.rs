//! A full disk.

use std::{env, path::PathBuf, process::Command};

use domain::{Error, media::MediaStore};
use infra_disk::DiskStore;

use crate::{files, key, upload};

/// Environment variable with the path of the small disk, set for the second run of the test.
const SMALL_DISK: &str = "TEST_SMALL_DISK";

/// Runs itself again in a mount namespace with a file system of 256 KiB. That needs no privileges, but not every system
/// allows it.
#[tokio::test]
async fn full_disk_stores_no_partial_file() {
    if let Some(disk) = env::var_os(SMALL_DISK) {
        return fill(PathBuf::from(disk)).await;
    }
    let disk = tempfile::tempdir().unwrap();
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"]);
        command.arg(disk.path());
        command
    };
    let mount = "mount -t tmpfs -o size=256k tmpfs \"$1\"";
    if !in_namespace(mount).output().is_ok_and(|output| output.status.success()) {
        return test_support::not_tested("this system does not allow users to mount file systems");
    }
    let output = in_namespace(&format!("{mount}; shift; exec \"$@\""))
        .arg(env::current_exe().unwrap())
        .args(["--exact", "disk_full::full_disk_stores_no_partial_file", "--nocapture"])
        .env(SMALL_DISK, disk.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}");
}

async fn fill(disk: PathBuf) {
    let root = disk.join("media");
    let store = DiskStore::open(&root).await.unwrap();
    let uploads = tempfile::tempdir().unwrap();
    let large = upload(&uploads.path().join("large"), &vec![7; 1_000_000]);
    assert_eq!(store.store(key(1), large, false).await, Err(Error::STORAGE_FULL));
    assert!(files(&root).is_empty());
    let small = upload(&uploads.path().join("small"), &vec![7; 100_000]);
    store.store(key(2), small, false).await.unwrap();
    assert_eq!(files(&root), [key(2).0]);
}
