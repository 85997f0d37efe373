//! PostgreSQL servers as operators have them.

use domain::accounts::RegistrationOutcome;
use test_support::TestDatabase;

use crate::helpers::{email, now, open, registration, user};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usernames_have_one_lower_case_in_every_locale() {
    let db = TestDatabase::postgres_with("ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'tr'").await;
    assert_eq!(db.texts("SELECT lower('IRIS')").await, ["ırıs"], "the locale matters");
    let db = open(&db).await;
    let iris = user(&db, "IRIS", 1).await;
    for login in ["IRIS", "iris", "Iris"] {
        let found = db.accounts.find_credentials(login.into()).await.unwrap();
        assert_eq!(found.map(|found| found.user), Some(iris), "{login}");
    }
    let again = db.accounts.register(registration("iris", email("another"))).await.unwrap();
    assert_eq!(again, RegistrationOutcome::UsernameTaken);
    db.accounts.register(registration("PIXIE", email("pixie"))).await.unwrap();
    let pending = db.accounts.find_pending_password_hash("pixie".into(), now() - chrono::TimeDelta::days(1));
    assert!(pending.await.unwrap().is_some());
}
