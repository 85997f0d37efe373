//! What the tables say, past the program.

use std::fmt::Write as _;

use diesel::{Connection as _, RunQueryDsl as _, connection::SimpleConnection as _, sql_types::Text};
use test_support::TestDatabase;

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    text: String,
}

fn sqlite(path: &str) -> diesel::SqliteConnection {
    let mut conn = diesel::SqliteConnection::establish(path).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 20000").unwrap();
    conn
}

async fn postgres(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn path(db: &TestDatabase) -> Option<&str> {
    db.url().strip_prefix("sqlite://")
}

/// Runs statements that both databases know.
pub(crate) async fn execute(db: &TestDatabase, sql: &str) {
    match path(db) {
        Some(path) => sqlite(path).batch_execute(sql).unwrap(),
        None => postgres(db.url()).await.batch_execute(sql).await.unwrap(),
    }
}

/// What a query of one column, `text`, finds.
pub(crate) async fn texts(db: &TestDatabase, query: &str) -> Vec<String> {
    if let Some(path) = path(db) {
        let rows: Vec<Row> = diesel::sql_query(query).load(&mut sqlite(path)).unwrap();
        return rows.into_iter().map(|row| row.text).collect();
    }
    postgres(db.url()).await.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Every row of every table, as text.
pub(crate) async fn dump(db: &TestDatabase) -> String {
    let tables = match path(db) {
        Some(_) => "SELECT name AS text FROM sqlite_master WHERE type = 'table'",
        None => {
            "SELECT table_name::text AS text FROM information_schema.tables WHERE table_schema = 'public'"
        }
    };
    let mut dump = String::new();
    for table in texts(db, tables).await {
        let rows = if path(db).is_some() {
            let columns =
                format!(r#"SELECT 'quote("' || name || '")' AS text FROM pragma_table_info('{table}')"#);
            let columns = texts(db, &columns).await.join(" || ', ' || ");
            format!(r#"SELECT {columns} AS text FROM "{table}""#)
        } else {
            format!(r#"SELECT t::text AS text FROM "{table}" t"#)
        };
        for row in texts(db, &rows).await {
            writeln!(dump, "{table} {row}").unwrap();
            writeln!(dump, "{}", readable(&row)).unwrap();
        }
    }
    dump
}

/// The bytes of a row that are shown as hexadecimal digits, as the text that they may be.
fn readable(row: &str) -> String {
    let parts = row
        .split(|char: char| !char.is_ascii_hexdigit())
        .filter(|part| part.len() >= 12 && part.len() % 2 == 0);
    let bytes = parts.flat_map(|part| {
        (0..part.len())
            .step_by(2)
            .filter_map(|at| u8::from_str_radix(&part[at..at + 2], 16).ok())
            .chain(*b" ")
    });
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}
