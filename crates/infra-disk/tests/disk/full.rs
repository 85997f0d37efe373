//! A disk without room.

use std::{env, path::PathBuf, process::Command};

use domain::{Error, media::MediaStore};
use infra_disk::DiskStore;

use crate::{files, key, upload};

/// Tells the second run of this test where the small disk is.
const SMALL_DISK: &str = "TEST_SMALL_DISK";

/// Runs itself once more in a mount namespace of its own with a file system of 256 KiB, which no system user is
/// needed for. Not all systems let users do that.
#[tokio::test]
async fn a_full_disk_keeps_nothing_half() {
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
        return test_support::not_tested("this system lets users mount nothing");
    }
    let output = in_namespace(&format!("{mount}; shift; exec \"$@\""))
        .arg(env::current_exe().unwrap())
        .args(["--exact", "full::a_full_disk_keeps_nothing_half", "--nocapture"])
        .env(SMALL_DISK, disk.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
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
