//! What a killed process leaves behind.

use std::{fs, path::Path};

use domain::media::MediaStore;
use infra_disk::DiskStore;

use crate::{Place, files, key, upload};

/// Half an upload, as it lies there when the process dies.
fn leave_behind(root: &Path) {
    fs::write(root.join(".incoming/.tmpA1b2C3"), b"half").unwrap();
}

#[tokio::test]
async fn opening_removes_what_a_killed_process_left_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("media");
    let store = DiskStore::open(&root).await.unwrap();
    store.store(key(1), upload(&folder.path().join("upload"), b"picture"), false).await.unwrap();
    drop(store);
    leave_behind(&root);
    DiskStore::open(&root).await.unwrap();
    assert_eq!(files(&root), [key(1).0]);
}

#[tokio::test]
async fn opening_leaves_the_uploads_of_another_process_alone() {
    let place = Place::new().await;
    leave_behind(&place.root());
    let second = DiskStore::open(place.root()).await.unwrap();
    assert_eq!(files(&place.root()), [".tmpA1b2C3"]);
    second.store(key(1), place.upload(b"picture"), false).await.unwrap();
    assert_eq!(place.kept(&key(1)), b"picture");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"in the way").unwrap();
    assert!(DiskStore::open(file.join("media")).await.is_err());
}
