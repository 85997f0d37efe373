//! Storing, copying and deleting files.

use std::{fs, os::unix::fs::symlink};

use chrono::Utc;
use domain::{
    Error,
    media::{MediaFile, MediaKey, MediaStore},
};

use crate::{TestStore, files, key, media, upload};

#[tokio::test]
async fn stored_file_is_found_at_its_path() {
    let test = TestStore::new().await;
    let stored = test.store.store(key(1), test.upload(b"picture"), false).await.unwrap();
    assert_eq!(stored, media(key(1)));
    assert_eq!(test.content(&key(1)), b"picture");
    assert_eq!(files(&test.root()), [key(1).0]);
}

#[tokio::test]
async fn stored_file_survives_removal_of_the_source() {
    let test = TestStore::new().await;
    let file = test.upload(b"picture");
    test.store.store(key(1), file.clone(), false).await.unwrap();
    fs::remove_file(&file.path).unwrap();
    assert_eq!(test.content(&key(1)), b"picture");
}

#[tokio::test]
async fn store_follows_symbolic_links() {
    let test = TestStore::new().await;
    let file = test.upload(b"picture");
    let link = test.temp.path().join("link");
    symlink(&file.path, &link).unwrap();
    test.store.store(key(1), MediaFile { path: link, ..file.clone() }, false).await.unwrap();
    fs::remove_file(&file.path).unwrap();
    assert_eq!(test.content(&key(1)), b"picture");
}

#[tokio::test]
async fn store_rejects_a_file_of_another_size() {
    let test = TestStore::new().await;
    for size in [6, 8] {
        let file = MediaFile { size, ..test.upload(b"picture") };
        assert!(matches!(test.store.store(key(1), file, false).await, Err(Error::Internal(_))));
    }
    assert!(files(&test.root()).is_empty());
}

#[tokio::test]
async fn store_rejects_a_missing_file() {
    let test = TestStore::new().await;
    let file = MediaFile { path: test.temp.path().join("missing"), ..test.upload(b"picture") };
    assert!(matches!(test.store.store(key(1), file, false).await, Err(Error::Internal(_))));
    assert!(files(&test.root()).is_empty());
}

#[tokio::test]
async fn private_files_have_no_signed_url() {
    let test = TestStore::new().await;
    let stored = test.store.store(key(1), test.upload(b"picture"), true).await.unwrap();
    assert_eq!(test.store.signed_url(&stored, Utc::now()), None);
}

#[tokio::test]
async fn copy_survives_deletion_of_the_original() {
    let test = TestStore::new().await;
    let stored = test.store.store(key(1), test.upload(b"picture"), false).await.unwrap();
    let copied = test.store.copy(stored, key(2), true).await.unwrap();
    assert_eq!(copied, media(key(2)));
    test.store.delete(key(1)).await.unwrap();
    assert_eq!(test.content(&key(2)), b"picture");
    assert_eq!(files(&test.root()), [key(2).0]);
}

#[tokio::test]
async fn copy_of_a_missing_file_returns_not_found() {
    let test = TestStore::new().await;
    assert_eq!(test.store.copy(media(key(1)), key(2), false).await, Err(Error::MEDIA_NOT_FOUND));
    assert!(files(&test.root()).is_empty());
}

#[tokio::test]
async fn delete_is_idempotent() {
    let test = TestStore::new().await;
    test.store.store(key(1), test.upload(b"picture"), false).await.unwrap();
    for _ in 0..2 {
        test.store.delete(key(1)).await.unwrap();
    }
    assert!(files(&test.root()).is_empty());
}

#[tokio::test]
async fn invalid_keys_do_not_reach_the_file_system() {
    let test = TestStore::new().await;
    let outside = test.temp.path().join("data/secret.png");
    fs::write(&outside, b"secret").unwrap();
    let absolute = outside.to_str().unwrap().to_owned();
    let bad = [
        "",
        ".",
        "..",
        "../secret.png",
        "..%2Fsecret.png",
        "..\\secret.png",
        ".lock",
        ".incoming",
        ".incoming/aaaaaaaaaaa.png",
        "a/aaaaaaaaaaaaaaaaaaaa.png",
        "../aaaaaaaaaaaaaaaaaaa.png",
        "aaaaaaaaaaaaaaaaaaaaa.png",
        "aaaaaaaaaaaaaaaaaaaaaaa.png",
        "aaaaaaaaaaaaaaaaaaaa==.png",
        "aaaaaaaaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaaaaaaaaa.svg",
        "aaaaaaaaaaaaaaaaaaaaaa.PNG",
        "aaaaaaaaaaaaaaaaaaaaaa.x.png",
        "aaaaaaaaaaaaaaaaaaaaaa.png/",
        "aaaaaaaaaaaaaaaaaaaaa\0.png",
        "aaaaaaaaaaaaaaaaaaaaa\n.png",
        "ääääääääääa.png",
        &absolute,
    ];
    for bad in bad.map(|bad| MediaKey(bad.to_owned())) {
        assert_eq!(test.store.path(&bad), None, "{bad:?}");
        let stored = test.store.store(bad.clone(), test.upload(b"x"), false).await;
        assert!(matches!(stored, Err(Error::Internal(_))), "{bad:?}");
        let copied = test.store.copy(media(bad.clone()), key(1), false).await;
        assert_eq!(copied, Err(Error::MEDIA_NOT_FOUND), "{bad:?}");
        test.store.delete(bad).await.unwrap();
    }
    assert_eq!(fs::read(&outside).unwrap(), b"secret");
    assert!(files(&test.root()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_stores_do_not_interfere() {
    let test = TestStore::new().await;
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let file = upload(
                &test.temp.path().join(format!("upload-{number}")),
                &vec![u8::try_from(number).unwrap(); 50_000],
            );
            let store = test.store.clone();
            tokio::spawn(async move { store.store(key(number), file, false).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    for number in 0..64 {
        assert_eq!(test.content(&key(number)), vec![u8::try_from(number).unwrap(); 50_000]);
    }
    assert_eq!(files(&test.root()).len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_a_partial_file() {
    let test = TestStore::new().await;
    let path = test.store.path(&key(1)).unwrap();
    let reader = tokio::task::spawn_blocking(move || {
        loop {
            if let Ok(content) = fs::read(&path) {
                return content.len();
            }
            std::thread::yield_now();
        }
    });
    let file = test.upload(&vec![7; 5_000_000]);
    // A symbolic link, so that the file is copied.
    let link = test.temp.path().join("link");
    symlink(&file.path, &link).unwrap();
    test.store.store(key(1), MediaFile { path: link, ..file }, false).await.unwrap();
    assert_eq!(reader.await.unwrap(), 5_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_store_and_delete_leave_a_complete_file_or_none() {
    let test = TestStore::new().await;
    let file = test.upload(&vec![7; 100_000]);
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let (store, file) = (test.store.clone(), file.clone());
            tokio::spawn(async move {
                if number % 2 == 0 {
                    store.store(key(1), file, false).await.map(drop)
                } else {
                    store.delete(key(1)).await
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let left = files(&test.root());
    assert!(left.is_empty() || (left == [key(1).0] && test.content(&key(1)).len() == 100_000));
}
