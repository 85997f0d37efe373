use chrono::DateTime;
use domain::{
    clock::SystemClock,
    media::{MockMediaRepository, MockMediaStore},
    notifications::{Activity, MockNotifier, NotificationId, NotificationView},
    posts::{Like, MockPostRepository, Unlike},
};

use super::*;
use crate::media::Limits;

const ANN: UserId = UserId(1);
const BOB: UserId = UserId(2);
const POST: PostId = PostId(5);

fn service(posts: MockPostRepository, notifier: MockNotifier) -> PostService {
    PostService {
        posts: Arc::new(posts),
        media: Arc::new(MockMediaRepository::new()),
        store: Arc::new(MockMediaStore::new()),
        inspector: MediaInspector::new(Limits::default(), 1),
        media_quota: Some(1000),
        notifier: Arc::new(notifier),
        clock: Arc::new(SystemClock),
    }
}

fn post_of_ann() -> PostView {
    PostView {
        id: POST,
        author: ANN,
        author_username: "ann".into(),
        content: Some("hi".into()),
        media: None,
        is_private: false,
        likes_count: 0,
        comments_count: 0,
        liked_by_me: false,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: None,
    }
}

/// The smallest GIF.
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;";

fn upload(bytes: &[u8]) -> tempfile::TempPath {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file.into_temp_path()
}

#[tokio::test]
async fn create_without_content_and_media_is_rejected() {
    let service = service(MockPostRepository::new(), MockNotifier::new());
    assert_eq!(service.create(ANN, PostDraft::default()).await, Err(Error::EMPTY_POST));
}

#[tokio::test]
async fn create_schedules_the_deletion_of_a_file_before_storing_it() {
    let mut order = mockall::Sequence::new();
    let (mut media, mut store, mut posts) =
        (MockMediaRepository::new(), MockMediaStore::new(), MockPostRepository::new());
    let size = GIF.len() as u64;
    media
        .expect_reserve()
        .once()
        .in_sequence(&mut order)
        .withf(move |file| (file.owner, file.bytes, file.quota) == (ANN, size, Some(1000)))
        .returning(|_| Ok(true));
    store.expect_store().once().in_sequence(&mut order).returning(|key, _, _| Ok(Media { key, url: None }));
    posts
        .expect_insert()
        .once()
        .in_sequence(&mut order)
        .returning(|new| Ok(PostView { media: new.media, ..post_of_ann() }));
    let service =
        PostService { media: Arc::new(media), store: Arc::new(store), ..service(posts, MockNotifier::new()) };
    let file = upload(GIF);
    let draft = PostDraft { media: Some(file.to_path_buf()), ..PostDraft::default() };
    let key = service.create(ANN, draft).await.unwrap().media.unwrap().key;
    assert_eq!(MediaKind::from_key(&key), Some(MediaKind::Gif));
}

#[tokio::test]
async fn create_stores_no_post_if_the_upload_fails() {
    let (mut media, mut store) = (MockMediaRepository::new(), MockMediaStore::new());
    media.expect_reserve().returning(|_| Ok(true));
    // Only if it is certain that the file is not stored.
    media.expect_release().once().returning(|_, _| Ok(()));
    let mut errors = [Error::MEDIA_UPLOAD_FAILED, Error::STORAGE_FULL].into_iter();
    store.expect_store().times(2).returning(move |_, _, _| Err(errors.next().unwrap()));
    let service = PostService {
        media: Arc::new(media),
        store: Arc::new(store),
        ..service(MockPostRepository::new(), MockNotifier::new())
    };
    let file = upload(GIF);
    let draft = || PostDraft { media: Some(file.to_path_buf()), ..PostDraft::default() };
    assert_eq!(service.create(ANN, draft()).await, Err(Error::MEDIA_UPLOAD_FAILED));
    assert_eq!(service.create(ANN, draft()).await, Err(Error::STORAGE_FULL));
}

#[tokio::test]
async fn create_stores_no_file_beyond_the_quota() {
    let mut media = MockMediaRepository::new();
    media.expect_reserve().once().returning(|_| Ok(false));
    let service =
        PostService { media: Arc::new(media), ..service(MockPostRepository::new(), MockNotifier::new()) };
    let file = upload(GIF);
    let draft = PostDraft { media: Some(file.to_path_buf()), ..PostDraft::default() };
    assert_eq!(service.create(ANN, draft).await, Err(Error::MEDIA_QUOTA_EXCEEDED));
}

#[tokio::test]
async fn update_with_an_empty_draft_returns_the_post() {
    let mut posts = MockPostRepository::new();
    posts.expect_find().returning(|_, _| Ok(Some(post_of_ann())));
    let result = service(posts, MockNotifier::new()).update(POST, ANN, PostDraft::default()).await;
    assert_eq!(result, Ok(post_of_ann()));
}

/// A service whose post has a file, and whose updates have these outcomes.
fn service_updating(outcomes: Vec<PostUpdate>) -> PostService {
    let (mut media, mut store, mut posts) =
        (MockMediaRepository::new(), MockMediaStore::new(), MockPostRepository::new());
    let file = Media { key: MediaKey("old.png".into()), url: None };
    let post = PostView { media: Some(file), ..post_of_ann() };
    let tries = outcomes.len();
    posts.expect_find().returning(move |_, _| Ok(Some(post.clone())));
    media.expect_schedule_deletion().times(tries).returning(|_, _| Ok(()));
    let failures = outcomes.iter().filter(|outcome| !matches!(outcome, PostUpdate::Updated(_))).count();
    media.expect_release().times(failures).returning(|_, _| Ok(()));
    store
        .expect_copy()
        .withf(|from, to, is_private| from.key != *to && MediaKind::from_key(to).is_some() && *is_private)
        .times(tries)
        .returning(|_, key, _| Ok(Media { key, url: None }));
    let mut outcomes = outcomes.into_iter();
    posts
        .expect_update()
        .withf(|_, _, change| !change.expected.is_private && change.media.is_some())
        .returning(move |_, _, _| Ok(outcomes.next().unwrap_or(PostUpdate::NotFound)));
    PostService { media: Arc::new(media), store: Arc::new(store), ..service(posts, MockNotifier::new()) }
}

#[tokio::test]
async fn update_that_changes_visibility_copies_the_file_to_a_new_key() {
    let private = PostDraft { is_private: Some(true), ..PostDraft::default() };
    let done = || PostUpdate::Updated(post_of_ann());
    assert!(service_updating(vec![done()]).update(POST, ANN, private.clone()).await.is_ok());
    // A conflict with a concurrent update is retried.
    let service = service_updating(vec![PostUpdate::Conflict, done()]);
    assert!(service.update(POST, ANN, private.clone()).await.is_ok());
    let service = service_updating(vec![PostUpdate::NotFound]);
    assert_eq!(service.update(POST, ANN, private).await, Err(Error::POST_NOT_FOUND));
}

#[tokio::test]
async fn a_private_file_loads_for_its_owner_and_with_a_signed_url() {
    let load = async |is_private, viewer, has_signed_url| {
        let mut media = MockMediaRepository::new();
        media.expect_find_access().returning(move |_| Ok(Some(MediaAccess { owner: ANN, is_private })));
        let service = service(MockPostRepository::new(), MockNotifier::new());
        let service = PostService { media: Arc::new(media), ..service };
        service.authorize_media(MediaKey("x.png".into()), viewer, has_signed_url).await.is_ok()
    };
    assert!(load(false, None, false).await);
    assert!(load(true, Some(ANN), false).await);
    assert!(load(true, None, true).await);
    assert!(!load(true, None, false).await);
    assert!(!load(true, Some(BOB), false).await);
}

#[tokio::test]
async fn update_and_delete_of_a_post_of_someone_else_are_forbidden() {
    let mut posts = MockPostRepository::new();
    posts.expect_find().returning(|_, _| Ok(Some(post_of_ann())));
    let service = service(posts, MockNotifier::new());
    assert_eq!(service.update(POST, BOB, PostDraft::default()).await, Err(Error::NOT_YOUR_POST_TO_UPDATE));
    assert_eq!(service.delete(POST, BOB).await, Err(Error::NOT_YOUR_POST_TO_DELETE));
}

#[tokio::test]
async fn like_returns_not_found_for_a_private_post_of_someone_else() {
    let mut posts = MockPostRepository::new();
    posts.expect_like().return_once(|_, _, _| Ok(None));
    let service = service(posts, MockNotifier::new());
    assert_eq!(service.like(BOB, POST).await, Err(Error::POST_NOT_FOUND));
}

#[tokio::test]
async fn other_actions_on_a_private_post_of_someone_else_return_not_found() {
    let mut posts = MockPostRepository::new();
    posts.expect_unlike().return_once(|_, _| Ok(None));
    posts.expect_find().returning(|_, _| Ok(None));
    let service = service(posts, MockNotifier::new());
    assert_eq!(service.unlike(BOB, POST).await, Err(Error::POST_NOT_FOUND));
    assert_eq!(service.update(POST, BOB, PostDraft::default()).await, Err(Error::POST_NOT_FOUND));
    assert_eq!(service.delete(POST, BOB).await, Err(Error::POST_NOT_FOUND));
}

#[tokio::test]
async fn like_notifies_the_author_once_and_rejects_a_second_like() {
    let (mut posts, mut notifier) = (MockPostRepository::new(), MockNotifier::new());
    let mut is_new = true;
    posts.expect_like().returning(move |_, _, _| {
        let notification = is_new.then(|| NotificationView {
            id: NotificationId(1),
            recipient: ANN,
            actor: BOB,
            actor_username: "bob".into(),
            activity: Activity::Like(POST),
            is_read: false,
            created_at: DateTime::UNIX_EPOCH,
        });
        let like = Like { is_new, likes_count: 1, notification };
        is_new = false;
        Ok(Some(like))
    });
    notifier.expect_notify().once().returning(|_| ());
    let service = service(posts, notifier);
    assert_eq!(service.like(BOB, POST).await, Ok(1));
    assert_eq!(service.like(BOB, POST).await, Err(Error::ALREADY_LIKED));
}

#[tokio::test]
async fn unlike_without_a_like_is_rejected() {
    let mut posts = MockPostRepository::new();
    posts
        .expect_unlike()
        .returning(|_, _| Ok(Some(Unlike { was_liked: false, likes_count: 3, removed_notification: None })));
    assert_eq!(service(posts, MockNotifier::new()).unlike(BOB, POST).await, Err(Error::NOT_LIKED));
}

#[tokio::test]
async fn create_rejects_a_file_of_an_unsupported_kind_before_storing_anything() {
    let file = upload(b"<svg/>");
    let draft = PostDraft { media: Some(file.to_path_buf()), ..PostDraft::default() };
    let service = service(MockPostRepository::new(), MockNotifier::new());
    assert_eq!(service.create(ANN, draft).await, Err(Error::MEDIA_UNSUPPORTED));
}
