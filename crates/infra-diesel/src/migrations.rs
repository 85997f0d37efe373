//! Versions of the schema.

use std::collections::BTreeSet;

use diesel::{
    QueryDsl as _,
    backend::Backend,
    dsl::sql,
    migration::{Migration as _, MigrationSource},
    sql_types::Bool,
};
use diesel_migrations::EmbeddedMigrations;

use crate::{
    connection::Connection,
    error::{DatabaseError, DbError},
    schema::__diesel_schema_migrations::dsl,
};

/// A migration of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// `<version>_<description>`.
    pub name: String,
    /// Whether it is applied to the database.
    pub is_applied: bool,
}

/// The schema of a database, compared with the one that this program expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaState {
    /// All migrations of this program, oldest first.
    pub migrations: Vec<Migration>,
    /// Applied versions that this program does not know: the database belongs to a newer program.
    pub unknown: Vec<String>,
}

impl SchemaState {
    /// Returns the names of the migrations that are not applied.
    pub fn pending(&self) -> Vec<String> {
        self.migrations.iter().filter(|step| !step.is_applied).map(|step| step.name.clone()).collect()
    }

    /// Returns whether the database has exactly the schema that this program expects.
    pub fn is_current(&self) -> bool {
        self.unknown.is_empty() && self.pending().is_empty()
    }

    pub(crate) fn compare<DB: Backend>(
        source: &EmbeddedMigrations,
        applied: Vec<String>,
    ) -> Result<Self, DatabaseError> {
        let mut applied: BTreeSet<String> = applied.into_iter().collect();
        let mut known = MigrationSource::<DB>::migrations(source)
            .map_err(|error| DatabaseError::Other(error.to_string()))?;
        known.sort_by_key(|step| step.name().version().to_string());
        let migrations = known
            .iter()
            .map(|step| Migration {
                name: step.name().to_string(),
                is_applied: applied.remove(&step.name().version().to_string()),
            })
            .collect();
        Ok(Self { migrations, unknown: applied.into_iter().collect() })
    }
}

/// Returns the versions of the migrations that the database has; none if it was never migrated.
pub(crate) async fn applied_migrations(conn: &mut Connection<'_>) -> Result<Vec<String>, DbError> {
    let exists = match conn {
        Connection::Postgres(_) => "to_regclass('__diesel_schema_migrations') IS NOT NULL",
        Connection::Sqlite(_) => {
            "EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations')"
        }
    };
    if conn.first(diesel::select(sql::<Bool>(exists))).await? != Some(true) {
        return Ok(Vec::new());
    }
    let query = dsl::__diesel_schema_migrations.select(dsl::version).order(dsl::version);
    conn.load(query).await
}
