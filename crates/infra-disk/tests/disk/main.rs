//! What the local media store promises, on a real file system.

#![allow(clippy::unwrap_used)]

mod full;
mod keeping;
mod leftovers;

use std::{
    fs,
    path::{Path, PathBuf},
};

use domain::media::{Media, MediaFile, MediaKey, MediaKind};
use infra_disk::DiskStore;
use tempfile::TempDir;

/// A store in a folder of its own, beside a folder that uploads arrive in.
struct Place {
    store: DiskStore,
    folder: TempDir,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(folder.path().join("data/media")).await.unwrap();
        Self { store, folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("data/media")
    }

    fn upload(&self, content: &[u8]) -> MediaFile {
        upload(&self.folder.path().join("upload"), content)
    }

    fn kept(&self, key: &MediaKey) -> Vec<u8> {
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

/// The names of all files below a folder that clients' files can be in.
fn files(root: &Path) -> Vec<String> {
    let list = |folder: &Path| {
        let entries = folder.read_dir().unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| !entry.file_type().unwrap().is_dir());
        files.map(|entry| entry.file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let mut names = list(root);
    names.extend(list(&root.join(".incoming")));
    names.retain(|name| name != ".lock");
    names.sort();
    names
}
