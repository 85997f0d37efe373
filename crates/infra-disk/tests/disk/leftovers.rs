//! Incomplete files of a killed process.

use std::{fs, path::Path, time::Duration};

use domain::media::MediaStore;
use infra_disk::DiskStore;

use crate::{TestStore, files, key, upload};

/// Writes an incomplete file as a killed process leaves it.
fn leave_incomplete_file(root: &Path) {
    fs::write(root.join(".incoming/.tmpA1b2C3"), b"half").unwrap();
}

#[tokio::test]
async fn open_removes_only_incomplete_files() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("media");
    let store = DiskStore::open(&root).await.unwrap();
    store.store(key(1), upload(&temp.path().join("upload"), b"picture"), false).await.unwrap();
    drop(store);
    leave_incomplete_file(&root);
    // A child process that another test is just starting briefly holds the lock of the directory.
    for _ in 0..100 {
        drop(DiskStore::open(&root).await.unwrap());
        if files(&root).len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(files(&root), [key(1).0]);
}

#[tokio::test]
async fn open_leaves_uploads_of_another_process() {
    let test = TestStore::new().await;
    leave_incomplete_file(&test.root());
    let second = DiskStore::open(test.root()).await.unwrap();
    assert_eq!(files(&test.root()), [".tmpA1b2C3"]);
    second.store(key(1), test.upload(b"picture"), false).await.unwrap();
    assert_eq!(test.content(&key(1)), b"picture");
}

#[tokio::test]
async fn open_fails_if_the_directory_cannot_be_created() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, b"in the way").unwrap();
    assert!(DiskStore::open(file.join("media")).await.is_err());
}
