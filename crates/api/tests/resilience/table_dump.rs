//! Every row of every table as text.

use std::fmt::Write as _;

use test_support::TestDatabase;

/// Every row of every table, as text.
pub(crate) async fn dump(db: &TestDatabase) -> String {
    let tables = match db.sqlite_path() {
        Some(_) => "SELECT name AS text FROM sqlite_master WHERE type = 'table'",
        None => {
            "SELECT table_name::text AS text FROM information_schema.tables WHERE table_schema = 'public'"
        }
    };
    let mut dump = String::new();
    for table in db.texts(tables).await {
        let rows = if db.sqlite_path().is_some() {
            let columns =
                format!(r#"SELECT 'quote("' || name || '")' AS text FROM pragma_table_info('{table}')"#);
            let columns = db.texts(&columns).await.join(" || ', ' || ");
            format!(r#"SELECT {columns} AS text FROM "{table}""#)
        } else {
            format!(r#"SELECT t::text AS text FROM "{table}" t"#)
        };
        for row in db.texts(&rows).await {
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
