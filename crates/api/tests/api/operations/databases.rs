//! PostgreSQL databases that cannot be used: `serve`, `migrate` and `doctor` say why.

use test_support::{PgBouncer, TestDatabase, not_tested};

use crate::harness::{Process, run_command};

fn check_refusals(url: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    for command in ["serve", "migrate", "doctor"] {
        let settings =
            [("DATABASE_URL", url), ("PORT", "0"), ("HOST", "127.0.0.1"), ("AUTO_MIGRATE", "true")];
        let (ok, text) = run_command(folder.path(), &settings, &[command]);
        let lines: Vec<_> = text.lines().filter(|line| line.contains(expected)).collect();
        assert!(!ok && lines.len() == 1 && lines[0].contains("DATABASE_URL"), "{command}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encoding_that_cannot_store_every_text_is_refused() {
    let db = TestDatabase::postgres_with("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'").await;
    tokio::task::block_in_place(|| check_refusals(db.url(), "encoding of the database is LATIN1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_by_transaction_is_refused_and_by_session_works() {
    let db = TestDatabase::postgres().await;
    let start = |settings: &str| tokio::task::block_in_place(|| PgBouncer::start(settings));
    for settings in
        ["pool_mode = transaction", "pool_mode = transaction\nignore_startup_parameters = options"]
    {
        let Some(pooler) = start(settings) else { return not_tested("PgBouncer is not installed") };
        let url = pooler.url_of(db.url());
        tokio::task::block_in_place(|| check_refusals(&url, "pool_mode = session"));
    }
    let Some(pooler) = start("pool_mode = session") else { return not_tested("PgBouncer is not installed") };
    let server = Process::start(&[("DATABASE_URL", &pooler.url_of(db.url()))]).await;
    server.create_user("ann").await;
    let (ok, report) = tokio::task::block_in_place(|| server.run(&["doctor"]));
    assert!(ok, "{report}");
}
