use chrono::TimeDelta;
use domain::{health::Backlog, media::MediaKey};
use infra_diesel::DatabaseUrl;
use test_support::{TestDatabase, database_test};

use crate::helpers::{Store, email, now, open};

#[database_test(postgres, sqlite, memory)]
async fn backlog_counts_pending_work(db: Store) {
    let nothing =
        Backlog { pending_mails: 0, oldest_mail_at: None, dead_mails: 0, pending_media_deletions: 0 };
    assert_eq!(db.health.backlog().await.unwrap(), nothing);
    let (first, second, third) = (now() - TimeDelta::hours(2), now() - TimeDelta::hours(1), now());
    for at in [first, second, third] {
        db.accounts.request_reset(email("ann"), at, at).await.unwrap();
    }
    db.media.schedule_deletion(MediaKey("a.png".into()), now()).await.unwrap();
    let dead = db.outbox.claim(first, now(), 1).await.unwrap().remove(0);
    db.outbox.retry_later(dead.id, None, "dead".into()).await.unwrap();
    let backlog =
        Backlog { pending_mails: 2, oldest_mail_at: Some(second), dead_mails: 1, pending_media_deletions: 1 };
    assert_eq!(db.health.backlog().await.unwrap(), backlog);
}

#[database_test]
async fn pool_status_reports_connections(db: TestDatabase) {
    let db = open(&db).await;
    db.health.check().await.unwrap();
    let pools = (db.pools)();
    assert!(pools.iter().any(|pool| pool.open == 1 && pool.idle == 1 && pool.waiting == 0), "{pools:?}");
}

#[database_test]
async fn database_time_is_returned_if_it_has_its_own_clock(db: TestDatabase) {
    let url = DatabaseUrl::parse(db.url()).unwrap();
    let time = infra_diesel::clock(&url).await.unwrap();
    assert_eq!(time.is_some(), matches!(url, DatabaseUrl::Postgres(_)));
    assert!(time.is_none_or(|time| (time - now()).abs() < TimeDelta::hours(1)));
}
