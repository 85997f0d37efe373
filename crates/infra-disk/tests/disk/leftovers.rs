//! Incomplete files of a killed process.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use domain::media::MediaStore;
use infra_disk::DiskStore;

use crate::{TestStore, files, key, upload};

/// Environment variable with the media directory, set for the second process of a test.
const ROOT: &str = "TEST_MEDIA_DIRECTORY";

fn process_dirs(root: &Path) -> Vec<PathBuf> {
    let entries = root.join(".incoming").read_dir().unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// Writes an incomplete file as a killed process leaves it: in a directory that nothing has locked.
fn leave_incomplete_file(root: &Path) {
    let directory = root.join(".incoming/process-1");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(".lock"), b"").unwrap();
    fs::write(directory.join(".tmpA1b2C3"), b"half").unwrap();
    // As an older version left it.
    fs::write(root.join(".incoming/.tmpD4e5F6"), b"half").unwrap();
}

#[tokio::test]
async fn open_removes_only_incomplete_files() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("media");
    let store = DiskStore::open(&root).await.unwrap();
    store.store(key(1), upload(&temp.path().join("upload"), b"picture"), false).await.unwrap();
    drop(store);
    leave_incomplete_file(&root);
    drop(DiskStore::open(&root).await.unwrap());
    assert_eq!(files(&root), [key(1).0]);
    assert!(process_dirs(&root).is_empty());
}

#[tokio::test]
async fn open_leaves_uploads_of_running_processes_and_removes_those_of_others() {
    let test = TestStore::new().await;
    let [own] = &process_dirs(&test.root())[..] else { panic!("one process has one directory") };
    fs::write(own.join(".tmpRunning"), b"half").unwrap();
    leave_incomplete_file(&test.root());
    let second = DiskStore::open(test.root()).await.unwrap();
    assert_eq!(files(&test.root()), [".tmpRunning"]);
    assert_eq!(process_dirs(&test.root()).len(), 2);
    second.store(key(1), test.upload(b"picture"), false).await.unwrap();
    assert_eq!(test.content(&key(1)), b"picture");
}

/// The lock is one of the operating system: it ends with its process, however that ends.
#[tokio::test]
async fn directory_of_a_killed_process_is_removed() {
    if let Some(root) = env::var_os(ROOT) {
        let store = DiskStore::open(PathBuf::from(root)).await.unwrap();
        println!("opened");
        std::thread::sleep(Duration::from_mins(1));
        return drop(store);
    }
    let temp = tempfile::tempdir().unwrap();
    let mut other = Command::new(env::current_exe().unwrap())
        .args(["--exact", "leftovers::directory_of_a_killed_process_is_removed", "--nocapture"])
        .env(ROOT, temp.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    while lines.next().unwrap().unwrap() != "opened" {}
    let [theirs] = &process_dirs(temp.path())[..] else { panic!("one process has one directory") };
    fs::write(theirs.join(".tmpA1b2C3"), b"half").unwrap();
    let first = DiskStore::open(temp.path()).await.unwrap();
    assert_eq!(files(temp.path()), [".tmpA1b2C3"]);
    other.kill().unwrap();
    other.wait().unwrap();
    let second = DiskStore::open(temp.path()).await.unwrap();
    assert!(files(temp.path()).is_empty());
    drop((first, second));
}

#[tokio::test]
async fn open_fails_if_the_directory_cannot_be_created() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, b"in the way").unwrap();
    assert!(DiskStore::open(file.join("media")).await.is_err());
}
