//! Tests of the media store on a real file system.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)] // a test may read the system's time

mod disk_full;
mod leftovers;
mod storing;

use std::{
    fs,
    path::{Path, PathBuf},
};

use domain::media::{Media, MediaFile, MediaKey, MediaKind};
use infra_disk::DiskStore;
use tempfile::TempDir;

/// A store in a temporary directory.
struct TestStore {
    store: DiskStore,
    temp: TempDir,
}

impl TestStore {
    async fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let store = DiskStore::open(temp.path().join("data/media")).await.unwrap();
        Self { store, temp }
    }

    fn root(&self) -> PathBuf {
        self.temp.path().join("data/media")
    }

    fn upload(&self, content: &[u8]) -> MediaFile {
        upload(&self.temp.path().join("upload"), content)
    }

    fn content(&self, key: &MediaKey) -> Vec<u8> {
        fs::read(self.store.path(key).unwrap()).unwrap()
    }
}

fn upload(path: &Path, content: &[u8]) -> MediaFile {
    fs::write(path, content).unwrap();
    MediaFile { path: path.into(), kind: MediaKind::Png, size: content.len() as u64 }
}

fn key(number: usize) -> MediaKey {
    MediaKey(format!("aZ-_{number:018}.png"))
}

fn media(key: MediaKey) -> Media {
    Media { key, url: None }
}

/// Lists the names of all complete and incomplete media files.
fn files(root: &Path) -> Vec<String> {
    let mut names = names_below(root);
    names.sort();
    names
}

fn names_below(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in directory.read_dir().unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            names.extend(names_below(&entry.path()));
        } else {
            names.push(entry.file_name().into_string().unwrap());
        }
    }
    names.retain(|name| name != ".lock");
    names
}
