//! Keeping, copying and removing.

use std::{fs, os::unix::fs::symlink};

use chrono::Utc;
use domain::{
    Error,
    media::{MediaFile, MediaKey, MediaStore},
};

use crate::{Place, files, key, media, upload};

#[tokio::test]
async fn a_stored_file_lies_at_its_path() {
    let place = Place::new().await;
    let stored = place.store.store(key(1), place.upload(b"picture"), false).await.unwrap();
    assert_eq!(stored, media(key(1)));
    assert_eq!(place.kept(&key(1)), b"picture");
    assert_eq!(files(&place.root()), [key(1).0]);
}

#[tokio::test]
async fn the_source_stays_its_owners_to_remove() {
    let place = Place::new().await;
    let file = place.upload(b"picture");
    place.store.store(key(1), file.clone(), false).await.unwrap();
    fs::remove_file(&file.path).unwrap();
    assert_eq!(place.kept(&key(1)), b"picture");
}

#[tokio::test]
async fn a_symbolic_link_is_followed_and_not_kept() {
    let place = Place::new().await;
    let file = place.upload(b"picture");
    let link = place.folder.path().join("link");
    symlink(&file.path, &link).unwrap();
    place.store.store(key(1), MediaFile { path: link, ..file.clone() }, false).await.unwrap();
    fs::remove_file(&file.path).unwrap();
    assert_eq!(place.kept(&key(1)), b"picture");
}

#[tokio::test]
async fn a_file_of_another_size_than_announced_is_not_kept() {
    let place = Place::new().await;
    for size in [6, 8] {
        let file = MediaFile { size, ..place.upload(b"picture") };
        assert!(matches!(place.store.store(key(1), file, false).await, Err(Error::Internal(_))));
    }
    assert!(files(&place.root()).is_empty());
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_kept() {
    let place = Place::new().await;
    let file = MediaFile { path: place.folder.path().join("missing"), ..place.upload(b"picture") };
    assert!(matches!(place.store.store(key(1), file, false).await, Err(Error::Internal(_))));
    assert!(files(&place.root()).is_empty());
}

#[tokio::test]
async fn this_server_serves_private_files_too() {
    let place = Place::new().await;
    let stored = place.store.store(key(1), place.upload(b"picture"), true).await.unwrap();
    assert_eq!(place.store.private_url(&stored, Utc::now()), None);
}

#[tokio::test]
async fn a_copy_outlives_what_it_was_copied_from() {
    let place = Place::new().await;
    let stored = place.store.store(key(1), place.upload(b"picture"), false).await.unwrap();
    let copied = place.store.copy(stored, key(2), true).await.unwrap();
    assert_eq!(copied, media(key(2)));
    place.store.delete(key(1)).await.unwrap();
    assert_eq!(place.kept(&key(2)), b"picture");
    assert_eq!(files(&place.root()), [key(2).0]);
}

#[tokio::test]
async fn a_copy_of_what_is_gone_is_not_found() {
    let place = Place::new().await;
    assert_eq!(place.store.copy(media(key(1)), key(2), false).await, Err(Error::MEDIA_NOT_FOUND));
    assert!(files(&place.root()).is_empty());
}

#[tokio::test]
async fn deleting_twice_is_fine() {
    let place = Place::new().await;
    place.store.store(key(1), place.upload(b"picture"), false).await.unwrap();
    for _ in 0..2 {
        place.store.delete(key(1)).await.unwrap();
    }
    assert!(files(&place.root()).is_empty());
}

#[tokio::test]
async fn no_other_key_reaches_the_file_system() {
    let place = Place::new().await;
    let outside = place.folder.path().join("data/secret.png");
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
        assert_eq!(place.store.path(&bad), None, "{bad:?}");
        let stored = place.store.store(bad.clone(), place.upload(b"x"), false).await;
        assert!(matches!(stored, Err(Error::Internal(_))), "{bad:?}");
        let copied = place.store.copy(media(bad.clone()), key(1), false).await;
        assert_eq!(copied, Err(Error::MEDIA_NOT_FOUND), "{bad:?}");
        place.store.delete(bad).await.unwrap();
    }
    assert_eq!(fs::read(&outside).unwrap(), b"secret");
    assert!(files(&place.root()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_can_be_stored_at_once() {
    let place = Place::new().await;
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let file = upload(
                &place.folder.path().join(format!("upload-{number}")),
                &vec![u8::try_from(number).unwrap(); 50_000],
            );
            let store = place.store.clone();
            tokio::spawn(async move { store.store(key(number), file, false).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    for number in 0..64 {
        assert_eq!(place.kept(&key(number)), vec![u8::try_from(number).unwrap(); 50_000]);
    }
    assert_eq!(files(&place.root()).len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_sees_half_a_file() {
    let place = Place::new().await;
    let path = place.store.path(&key(1)).unwrap();
    let reader = tokio::task::spawn_blocking(move || {
        loop {
            if let Ok(content) = fs::read(&path) {
                return content.len();
            }
            std::thread::yield_now();
        }
    });
    let file = place.upload(&vec![7; 5_000_000]);
    // By way of a link, so that it is copied.
    let link = place.folder.path().join("link");
    symlink(&file.path, &link).unwrap();
    place.store.store(key(1), MediaFile { path: link, ..file }, false).await.unwrap();
    assert_eq!(reader.await.unwrap(), 5_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn storing_and_deleting_the_same_file_at_once_leaves_it_whole_or_gone() {
    let place = Place::new().await;
    let file = place.upload(&vec![7; 100_000]);
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let (store, file) = (place.store.clone(), file.clone());
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
    let left = files(&place.root());
    assert!(left.is_empty() || (left == [key(1).0] && place.kept(&key(1)).len() == 100_000));
}
