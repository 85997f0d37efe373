//! PostgreSQL servers as operators have them: other encodings and locales, options, poolers, TLS, few privileges.

use std::time::Duration;

use domain::{
    Error,
    accounts::RegistrationOutcome,
    comments::{CommentContent, NewComment},
    passwords::PasswordHash,
    sessions::{NewSession, SessionId},
};
use futures_util::future::join_all;
use infra_diesel::{Database, DatabaseConfig, DatabaseError, DatabaseUrl};
use test_support::{Cluster, PgBouncer, TestDatabase, not_tested};

use crate::helpers::{email, now, open, page, post, registration, session, user};

fn url(text: &str) -> DatabaseUrl {
    DatabaseUrl::parse(text).unwrap()
}

async fn connect(url: DatabaseUrl) -> Result<Database, DatabaseError> {
    let timeout = Duration::from_secs(20);
    infra_diesel::connect(&DatabaseConfig { url, replica: None, connections: 4, workers: 0, timeout }).await
}

/// The error of everything that checks a database.
async fn refusals(url: &DatabaseUrl) -> [String; 2] {
    let migrated = infra_diesel::migrate(url, false).await.unwrap_err().to_string();
    [migrated, infra_diesel::schema_state(url).await.unwrap_err().to_string()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_of_another_encoding_is_refused() {
    let db = TestDatabase::postgres_with("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'").await;
    for refusal in refusals(&url(db.url())).await {
        assert_eq!(refusal, "the encoding of the database is LATIN1: create it with ENCODING 'UTF8'");
    }
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_of_the_url_hold_for_migrations_and_requests() {
    let db = TestDatabase::postgres().await;
    db.execute("CREATE SCHEMA social").await;
    let url = url(&format!("{}?options=-csearch_path%3Dsocial&application_name=my%20name", db.url()));
    infra_diesel::migrate(&url, false).await.unwrap();
    assert!(infra_diesel::schema_state(&url).await.unwrap().is_current());
    let database = connect(url).await.unwrap();
    user(&database, "ann", 1).await;
    assert_eq!(db.texts("SELECT username FROM social.users").await, ["ann"]);
    let names = "SELECT DISTINCT application_name FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(db.texts(names).await, ["my name"]);
    drop(database);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_recognized_in_every_language() {
    let test = TestDatabase::postgres().await;
    let db = open(&test).await;
    let ann = user(&db, "ann", 1).await;
    // Raises the SQLSTATE that is the client's name.
    test.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'wegen %', NEW.client USING ERRCODE = NEW.client; END $$;
         CREATE TRIGGER fails BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    .await;
    for (state, expected) in [
        ("57014", "unavailable"), // statement timeout
        ("55P03", "unavailable"), // lock timeout
        ("40P01", "unavailable"), // deadlock
        ("57P01", "unavailable"), // shutdown
        ("53300", "unavailable"), // too many connections
        ("53100", "storage full"),
        ("22021", "internal"),
        ("42501", "internal"),
    ] {
        let failing = NewSession { client: Some(state.to_owned()), ..session(2) };
        let error = db.sessions.create(ann, PasswordHash("hash of ann".into()), failing).await.unwrap_err();
        let kind = match &error {
            Error::Unavailable(..) => "unavailable",
            error if *error == Error::STORAGE_FULL => "storage full",
            _ => "internal",
        };
        assert_eq!(kind, expected, "{state}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writes_succeed_if_the_default_isolation_is_serializable() {
    let test = TestDatabase::postgres().await;
    let name = test.texts("SELECT current_database()").await.remove(0);
    test.execute(&format!("ALTER DATABASE {name} SET default_transaction_isolation = serializable")).await;
    let db = open(&test).await;
    let ann = user(&db, "ann", 1).await;
    let post = post(&db, ann, "hello", false).await;
    let tasks = (0..200).map(|n| {
        let db = db.clone();
        tokio::spawn(async move {
            let content = CommentContent::parse(&format!("number {n}")).unwrap();
            let comment = NewComment { post: post.id, author: ann, content, at: now() };
            db.comments.insert(comment).await.unwrap();
            db.notifications.mark_all_read(ann).await.unwrap();
        })
    });
    for task in join_all(tasks.collect::<Vec<_>>()).await {
        task.unwrap();
    }
    let posts = db.posts.list(ann, None, page(1, 10)).await.unwrap();
    assert_eq!(posts.items[0].comments_count, 200);
}

const POOLED_BY_TRANSACTION: &str = "a connection pooler shares the connections of PostgreSQL between transactions: \
    make it pool by session (PgBouncer: pool_mode = session), or connect to PostgreSQL itself";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_that_shares_connections_between_transactions_is_refused() {
    let db = TestDatabase::postgres().await;
    for settings in [
        "pool_mode = transaction",
        "pool_mode = transaction\nignore_startup_parameters = options",
        "pool_mode = transaction\ndefault_pool_size = 1",
        "pool_mode = transaction\nserver_round_robin = 1\nmin_pool_size = 2",
        "pool_mode = statement",
    ] {
        let Some(pooler) = tokio::task::block_in_place(|| PgBouncer::start(settings)) else {
            return not_tested("PgBouncer is not installed");
        };
        for _ in 0..5 {
            for refusal in refusals(&url(&pooler.url_of(db.url()))).await {
                assert_eq!(refusal, POOLED_BY_TRANSACTION, "{settings}");
            }
        }
    }
    assert_eq!(
        db.number(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database =
        (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_by_session_works() {
    let db = TestDatabase::postgres().await;
    let Some(pooler) = tokio::task::block_in_place(|| PgBouncer::start("pool_mode = session")) else {
        return not_tested("PgBouncer is not installed");
    };
    let url = url(&pooler.url_of(db.url()));
    // Twice: the second time on connections that were used before.
    for number in 1..=2 {
        infra_diesel::migrate(&url, false).await.unwrap();
        assert!(infra_diesel::schema_state(&url).await.unwrap().is_current());
        let database = connect(url.clone()).await.unwrap();
        let ann = user(&database, &format!("ann{number}"), number).await;
        let posts = join_all((0..50).map(|_| post(&database, ann, "hello", false))).await;
        assert_eq!(posts.len(), 50);
        database.health.check().await.unwrap();
        database.sessions.find_active(SessionId(number), now()).await.unwrap().unwrap();
    }
}

/// Makes an authority and a certificate for `host`, with its key.
fn certificates(host: &str) -> [String; 3] {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority =
        rcgen::CertifiedIssuer::self_signed(authority, rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    [authority.pem(), certificate.pem(), key.serialize_pem()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_the_server_are_verified_as_sslmode_says() {
    let Some(cluster) = tokio::task::block_in_place(Cluster::start) else {
        return not_tested("PostgreSQL's server programs are not installed");
    };
    let [authority, certificate, key] = certificates("localhost");
    let [other, ..] = certificates("localhost");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (authority, other) = (file("authority.pem", &authority), file("other.pem", &other));
    tokio::task::block_in_place(|| {
        cluster.enable_tls(&certificate, &key);
        cluster.set_access("hostssl all all 127.0.0.1/32 trust");
    });
    let by_address = cluster.url();
    let by_name = by_address.replace("127.0.0.1", "localhost");
    for (server, query, expected) in [
        (&by_address, "sslmode=disable".to_owned(), "no pg_hba.conf entry"),
        (&by_address, String::new(), ""),
        (&by_address, "sslmode=allow".to_owned(), ""),
        (&by_address, "sslmode=prefer".to_owned(), ""),
        (&by_name, "sslmode=require".to_owned(), "UnknownIssuer"),
        (&by_name, "sslmode=verify-full".to_owned(), "UnknownIssuer"),
        (&by_name, "sslmode=verify-full&sslrootcert=system".to_owned(), "UnknownIssuer"),
        (&by_name, format!("sslmode=verify-full&sslrootcert={other}"), "invalid peer certificate"),
        (&by_name, format!("sslmode=verify-ca&sslrootcert={other}"), "invalid peer certificate"),
        (&by_address, format!("sslmode=verify-full&sslrootcert={authority}"), "not valid for name"),
        (&by_address, format!("sslmode=verify-ca&sslrootcert={authority}"), ""),
        (&by_name, format!("sslmode=require&sslrootcert={authority}"), ""),
        (&by_name, format!("sslmode=verify-full&sslrootcert={authority}"), ""),
        (&by_name, format!("sslrootcert={authority}"), ""),
        (&by_name, format!("sslrootcert={other}"), "invalid peer certificate"),
    ] {
        let outcome = infra_diesel::clock(&url(&format!("{server}?{query}"))).await;
        let error = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert!(error.contains(expected) && error.is_empty() == expected.is_empty(), "{query}: {error}");
    }
    let trusted = url(&format!("{by_name}?sslmode=verify-full")).with_ca_file(&authority);
    infra_diesel::migrate(&trusted, false).await.unwrap();
    connect(trusted).await.unwrap().health.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_privileges_are_named() {
    let Some(cluster) = tokio::task::block_in_place(Cluster::start) else {
        return not_tested("PostgreSQL's server programs are not installed");
    };
    let owner = url(&cluster.url());
    infra_diesel::migrate(&owner, false).await.unwrap();
    let admin = async |sql: &str| {
        let (client, connection) =
            tokio_postgres::connect(&cluster.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
    };
    let limited = url(&cluster.url().replace("postgres@", "app@"));
    let refusal = async || infra_diesel::schema_state(&limited).await.unwrap_err().to_string();
    admin("CREATE ROLE app LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC").await;
    assert!(refusal().await.contains("grant USAGE on the schema"), "{}", refusal().await);
    admin("GRANT USAGE ON SCHEMA public TO app").await;
    let expected = "the user lacks a privilege: permission denied for table __diesel_schema_migrations";
    assert_eq!(refusal().await, expected);
    admin("GRANT SELECT ON ALL TABLES IN SCHEMA public TO app").await;
    admin("GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app").await;
    admin("REVOKE INSERT, DELETE ON posts FROM app; REVOKE SELECT ON users FROM app").await;
    assert_eq!(refusal().await, "the user app lacks privileges: INSERT, DELETE on posts; SELECT on users");
    let migrated = infra_diesel::migrate(&limited, false).await;
    assert!(migrated.is_ok(), "there is nothing to migrate: {migrated:?}");
    admin("GRANT ALL ON posts, users TO app").await;
    assert!(infra_diesel::schema_state(&limited).await.unwrap().is_current());
    user(&connect(limited).await.unwrap(), "ann", 1).await;
}
