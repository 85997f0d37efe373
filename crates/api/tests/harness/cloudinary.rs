//! Servers that store media at a fake Cloudinary.

use test_support::{
    TestDatabase,
    cloudinary::{API_KEY, API_SECRET, CLOUD, FakeCloudinary},
};

use super::Server;

/// Settings of a server that uses the Cloudinary at `base`.
pub(crate) fn cloudinary_settings(base: &str) -> [(&str, &str); 4] {
    [
        ("CLOUDINARY_CLOUD_NAME", CLOUD),
        ("CLOUDINARY_API_KEY", API_KEY),
        ("CLOUDINARY_API_SECRET", API_SECRET),
        ("CLOUDINARY_API_BASE", base),
    ]
}

/// Starts a fake Cloudinary and a server that uses it.
pub(crate) async fn start_with_cloudinary(db: &TestDatabase) -> (Server, FakeCloudinary) {
    let fake = FakeCloudinary::working().await;
    let server = Server::start_with(db, &cloudinary_settings(&fake.base())).await;
    (server, fake)
}

/// Makes every scheduled deletion of a file due now.
pub(crate) async fn make_deletions_due(db: &TestDatabase) {
    db.execute("UPDATE media_deletions SET due_at = (SELECT min(created_at) FROM users)").await;
}

/// Returns the number of scheduled deletions of files.
pub(crate) async fn pending_deletions(db: &TestDatabase) -> i64 {
    db.number("SELECT count(*) FROM media_deletions").await
}
