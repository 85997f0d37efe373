//! Publishing, reading and liking posts.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::{
    Error, Result,
    clock::Clock,
    media::{Media, MediaAccess, MediaFile, MediaKey, MediaKind, MediaRepository, MediaStore},
    page::{Page, PageRequest},
    posts::{NewPost, PostChange, PostContent, PostId, PostRepository, PostUpdate, PostView},
    users::UserId,
};

use crate::{live::Live, random};

/// How long an upload may take until its file counts as an orphan.
const UPLOAD_TIME: TimeDelta = TimeDelta::hours(1);

/// How often a change is prepared anew because another one overtook it.
const MAX_CONFLICTS: usize = 5;

/// What a client wants to publish.
#[derive(Debug, Clone, Default)]
pub struct PostDraft {
    /// The text; `None` if there is none, or it is to stay.
    pub content: Option<PostContent>,
    /// The file; `None` if there is none, or it is to stay.
    pub media: Option<MediaFile>,
    /// Whether it is for the author alone; `None` for the default, or if it is to stay.
    pub is_private: Option<bool>,
}

/// Publishing, reading and liking posts.
#[derive(Clone)]
pub struct PostService {
    /// Where posts are.
    pub posts: Arc<dyn PostRepository>,
    /// Which files belong to them.
    pub media: Arc<dyn MediaRepository>,
    /// Where files are.
    pub store: Arc<dyn MediaStore>,
    /// Who hears of it.
    pub live: Live,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl PostService {
    /// Publishes a post.
    pub async fn create(&self, author: UserId, draft: PostDraft) -> Result<PostView> {
        if draft.content.is_none() && draft.media.is_none() {
            return Err(Error::EMPTY_POST);
        }
        let is_private = draft.is_private.unwrap_or(false);
        let media = self.keep(draft.media, is_private).await?;
        self.posts
            .insert(NewPost { author, content: draft.content, media, is_private, at: self.clock.now() })
            .await
    }

    /// The post as `viewer` may see it.
    pub async fn get(&self, id: PostId, viewer: UserId) -> Result<PostView> {
        self.posts.find(id, viewer).await?.ok_or(Error::POST_NOT_FOUND)
    }

    /// A page of what `viewer` may see.
    pub async fn list(
        &self,
        viewer: UserId,
        author: Option<UserId>,
        page: PageRequest,
    ) -> Result<Page<PostView>> {
        self.posts.list(viewer, author, page).await
    }

    /// Changes what the draft names. A file whose post becomes private, or public, gets another address.
    pub async fn update(&self, id: PostId, user: UserId, draft: PostDraft) -> Result<PostView> {
        for _ in 0..MAX_CONFLICTS {
            let post = self.get(id, user).await?;
            if !post.is_owned_by(user) {
                return Err(Error::NOT_YOUR_POST_TO_UPDATE);
            }
            if draft.content.is_none() && draft.media.is_none() && draft.is_private.is_none() {
                return Ok(post);
            }
            let is_private = draft.is_private.unwrap_or(post.is_private);
            let media = match (&draft.media, &post.media) {
                (Some(file), _) => self.keep(Some(file.clone()), is_private).await?,
                (None, Some(media)) if is_private != post.is_private => {
                    Some(self.move_media(media.clone(), is_private).await?)
                }
                _ => None,
            };
            let change = PostChange {
                expected: post.revision(),
                content: draft.content.clone(),
                media,
                is_private: draft.is_private,
                at: self.clock.now(),
            };
            match self.posts.update(id, user, change).await? {
                PostUpdate::Updated(post) => return Ok(post),
                PostUpdate::NotFound => return Err(Error::POST_NOT_FOUND),
                PostUpdate::Conflict => {} // what was stored for it is owed its deletion
            }
        }
        Err(Error::overloaded())
    }

    /// Deletes a post with everything on it.
    pub async fn delete(&self, id: PostId, user: UserId) -> Result<()> {
        let post = self.get(id, user).await?;
        if !post.is_owned_by(user) {
            return Err(Error::NOT_YOUR_POST_TO_DELETE);
        }
        if self.posts.delete(id, user, self.clock.now()).await? { Ok(()) } else { Err(Error::POST_NOT_FOUND) }
    }

    /// Likes a post, tells its author, and says how many like it.
    pub async fn like(&self, user: UserId, id: PostId) -> Result<i64> {
        let like = self.posts.like(id, user, self.clock.now()).await?.ok_or(Error::POST_NOT_FOUND)?;
        self.live.tell(like.notification).await;
        if like.is_new { Ok(like.likes_count) } else { Err(Error::ALREADY_LIKED) }
    }

    /// Takes a like back, and says how many are left.
    pub async fn unlike(&self, user: UserId, id: PostId) -> Result<i64> {
        let unlike = self.posts.unlike(id, user).await?.ok_or(Error::POST_NOT_FOUND)?;
        self.live.withdraw(unlike.removed_notification).await;
        if unlike.was_liked { Ok(unlike.likes_count) } else { Err(Error::NOT_LIKED) }
    }

    /// Whose file this is, if `viewer` may load it. `has_pass` says that they brought an address that we signed.
    pub async fn authorize_media(
        &self,
        key: MediaKey,
        viewer: Option<UserId>,
        has_pass: bool,
    ) -> Result<MediaAccess> {
        let access = self.media.find_access(key).await?.ok_or(Error::MEDIA_NOT_FOUND)?;
        if access.is_private && !has_pass && viewer != Some(access.owner) {
            return Err(Error::MEDIA_NOT_FOUND);
        }
        Ok(access)
    }

    /// Keeps a file. Its deletion is owed first and cancelled by the commit of its post: whatever happens between,
    /// no orphan stays.
    async fn keep(&self, file: Option<MediaFile>, is_private: bool) -> Result<Option<Media>> {
        let Some(file) = file else { return Ok(None) };
        let key = self.owed_key(file.kind).await?;
        Ok(Some(self.store.store(key, file, is_private).await?))
    }

    /// Keeps what a post has under another key, in the same way. The old one is deleted after the commit.
    async fn move_media(&self, media: Media, is_private: bool) -> Result<Media> {
        let kind =
            MediaKind::from_key(&media.key).ok_or_else(|| Error::internal("a stored file has no kind"))?;
        let key = self.owed_key(kind).await?;
        self.store.copy(media, key, is_private).await
    }

    /// A key that nobody can guess, whose deletion is owed unless a post gets it in time.
    async fn owed_key(&self, kind: MediaKind) -> Result<MediaKey> {
        let key = MediaKey(format!("{}.{}", random::token::<16>()?, kind.extension()));
        self.media.schedule_deletion(key.clone(), self.clock.now() + UPLOAD_TIME).await?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::{
        clock::SystemClock,
        media::{MockMediaRepository, MockMediaStore},
        notifications::{Activity, MockNotifier, NotificationId, NotificationView},
        posts::{Like, MockPostRepository, Unlike},
    };

    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);
    const POST: PostId = PostId(5);

    fn service(posts: MockPostRepository, notifier: MockNotifier) -> PostService {
        PostService {
            posts: Arc::new(posts),
            media: Arc::new(MockMediaRepository::new()),
            store: Arc::new(MockMediaStore::new()),
            live: Live::new(Arc::new(notifier)),
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

    fn file() -> MediaFile {
        MediaFile { path: "/tmp/file".into(), kind: MediaKind::Png, size: 1 }
    }

    #[tokio::test]
    async fn a_post_of_nothing_is_refused() {
        let service = service(MockPostRepository::new(), MockNotifier::new());
        assert_eq!(service.create(ANN, PostDraft::default()).await, Err(Error::EMPTY_POST));
    }

    #[tokio::test]
    async fn a_file_is_owed_its_deletion_before_it_is_stored() {
        let mut order = mockall::Sequence::new();
        let (mut media, mut store, mut posts) =
            (MockMediaRepository::new(), MockMediaStore::new(), MockPostRepository::new());
        media.expect_schedule_deletion().once().in_sequence(&mut order).returning(|_, _| Ok(()));
        store
            .expect_store()
            .once()
            .in_sequence(&mut order)
            .returning(|key, _, _| Ok(Media { key, url: None }));
        posts
            .expect_insert()
            .once()
            .in_sequence(&mut order)
            .returning(|new| Ok(PostView { media: new.media, ..post_of_ann() }));
        let service = PostService {
            media: Arc::new(media),
            store: Arc::new(store),
            ..service(posts, MockNotifier::new())
        };
        let draft = PostDraft { media: Some(file()), ..PostDraft::default() };
        let key = service.create(ANN, draft).await.unwrap().media.unwrap().key;
        assert_eq!(MediaKind::from_key(&key), Some(MediaKind::Png));
    }

    #[tokio::test]
    async fn no_post_comes_of_a_failed_upload() {
        let (mut media, mut store) = (MockMediaRepository::new(), MockMediaStore::new());
        media.expect_schedule_deletion().returning(|_, _| Ok(()));
        store.expect_store().returning(|_, _, _| Err(Error::MEDIA_UPLOAD_FAILED));
        let service = PostService {
            media: Arc::new(media),
            store: Arc::new(store),
            ..service(MockPostRepository::new(), MockNotifier::new())
        };
        let draft = PostDraft { media: Some(file()), ..PostDraft::default() };
        assert_eq!(service.create(ANN, draft).await, Err(Error::MEDIA_UPLOAD_FAILED));
    }

    #[tokio::test]
    async fn a_change_of_nothing_changes_nothing() {
        let mut posts = MockPostRepository::new();
        posts.expect_find().returning(|_, _| Ok(Some(post_of_ann())));
        let result = service(posts, MockNotifier::new()).update(POST, ANN, PostDraft::default()).await;
        assert_eq!(result, Ok(post_of_ann()));
    }

    /// A post with a file, a store that copies, and what becomes of each try to change it.
    fn changing(outcomes: Vec<PostUpdate>) -> PostService {
        let (mut media, mut store, mut posts) =
            (MockMediaRepository::new(), MockMediaStore::new(), MockPostRepository::new());
        let file = Media { key: MediaKey("old.png".into()), url: None };
        let post = PostView { media: Some(file), ..post_of_ann() };
        let tries = outcomes.len();
        posts.expect_find().returning(move |_, _| Ok(Some(post.clone())));
        media.expect_schedule_deletion().times(tries).returning(|_, _| Ok(()));
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
    async fn a_file_whose_post_becomes_private_gets_another_address() {
        let private = PostDraft { is_private: Some(true), ..PostDraft::default() };
        let done = || PostUpdate::Updated(post_of_ann());
        assert!(changing(vec![done()]).update(POST, ANN, private.clone()).await.is_ok());
        // Overtaken by another change, it is prepared anew.
        let service = changing(vec![PostUpdate::Conflict, done()]);
        assert!(service.update(POST, ANN, private.clone()).await.is_ok());
        let service = changing(vec![PostUpdate::NotFound]);
        assert_eq!(service.update(POST, ANN, private).await, Err(Error::POST_NOT_FOUND));
    }

    #[tokio::test]
    async fn a_private_file_is_for_its_owner_and_for_who_has_a_pass() {
        let load = async |is_private, viewer, has_pass| {
            let mut media = MockMediaRepository::new();
            media.expect_find_access().returning(move |_| Ok(Some(MediaAccess { owner: ANN, is_private })));
            let service = service(MockPostRepository::new(), MockNotifier::new());
            let service = PostService { media: Arc::new(media), ..service };
            service.authorize_media(MediaKey("x.png".into()), viewer, has_pass).await.is_ok()
        };
        assert!(load(false, None, false).await);
        assert!(load(true, Some(ANN), false).await);
        assert!(load(true, None, true).await);
        assert!(!load(true, None, false).await);
        assert!(!load(true, Some(BOB), false).await);
    }

    #[tokio::test]
    async fn strangers_may_neither_change_nor_delete() {
        let mut posts = MockPostRepository::new();
        posts.expect_find().returning(|_, _| Ok(Some(post_of_ann())));
        let service = service(posts, MockNotifier::new());
        assert_eq!(
            service.update(POST, BOB, PostDraft::default()).await,
            Err(Error::NOT_YOUR_POST_TO_UPDATE)
        );
        assert_eq!(service.delete(POST, BOB).await, Err(Error::NOT_YOUR_POST_TO_DELETE));
    }

    #[tokio::test]
    async fn a_strangers_private_post_is_not_found() {
        let mut posts = MockPostRepository::new();
        posts.expect_like().return_once(|_, _, _| Ok(None));
        posts.expect_unlike().return_once(|_, _| Ok(None));
        posts.expect_find().returning(|_, _| Ok(None));
        let service = service(posts, MockNotifier::new());
        assert_eq!(service.like(BOB, POST).await, Err(Error::POST_NOT_FOUND));
        assert_eq!(service.unlike(BOB, POST).await, Err(Error::POST_NOT_FOUND));
        assert_eq!(service.update(POST, BOB, PostDraft::default()).await, Err(Error::POST_NOT_FOUND));
        assert_eq!(service.delete(POST, BOB).await, Err(Error::POST_NOT_FOUND));
    }

    #[tokio::test]
    async fn a_new_like_is_told_and_a_second_refused() {
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
    async fn an_unlike_needs_a_like() {
        let mut posts = MockPostRepository::new();
        posts.expect_unlike().returning(|_, _| {
            Ok(Some(Unlike { was_liked: false, likes_count: 3, removed_notification: None }))
        });
        assert_eq!(service(posts, MockNotifier::new()).unlike(BOB, POST).await, Err(Error::NOT_LIKED));
    }
}
