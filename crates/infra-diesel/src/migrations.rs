//! The schema and its versions.

use std::collections::BTreeSet;

use diesel::{
    QueryDsl as _,
    backend::Backend,
    migration::{Migration as _, MigrationSource},
};
use diesel_migrations::EmbeddedMigrations;

use crate::{DatabaseError, connection::Connection, error::DbError, schema::__diesel_schema_migrations::dsl};

/// One step of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// `<version>_<what it does>`.
    pub name: String,
    /// Whether the database has it.
    pub is_applied: bool,
}

/// The schema of a database, compared with the one that this program was built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaState {
    /// Every migration of this program, oldest first.
    pub migrations: Vec<Migration>,
    /// Versions that the database has and this program does not know: it is newer than the program.
    pub unknown: Vec<String>,
}

impl SchemaState {
    /// Names what the database lacks.
    pub fn pending(&self) -> Vec<String> {
        self.migrations.iter().filter(|step| !step.is_applied).map(|step| step.name.clone()).collect()
    }

    /// Whether program and database fit.
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
    let query = dsl::__diesel_schema_migrations.select(dsl::version).order(dsl::version);
    match conn.load(query).await {
        Err(DbError(error)) if is_missing_table(&error) => Ok(Vec::new()),
        done => done,
    }
}

fn is_missing_table(error: &domain::Error) -> bool {
    let text = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    text.contains("no such table") || text.contains("does not exist")
}
