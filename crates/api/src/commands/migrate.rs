//! `api migrate`, and the check of the schema before anything else uses the database.

use api::config::Config;
use infra_diesel::{DatabaseUrl, SchemaState};

use super::{config, print};

/// Applies pending migrations, or only prints them.
pub(crate) async fn run(dry_run: bool) -> Result<(), String> {
    let url = config()?.database.url;
    let names = infra_diesel::migrate(&url, dry_run).await.map_err(|error| database_error(&url, &error))?;
    if names.is_empty() {
        return print("The schema is up to date.");
    }
    let verb = if dry_run { "would apply" } else { "applied" };
    names.iter().try_for_each(|name| print(&format!("{verb} {name}")))
}

/// Prints every migration with its status.
pub(crate) async fn status() -> Result<(), String> {
    let url = config()?.database.url;
    let SchemaState { migrations, unknown } =
        infra_diesel::schema_state(&url).await.map_err(|error| database_error(&url, &error))?;
    for migration in migrations {
        let status = if migration.is_applied { "applied" } else { "pending" };
        print(&format!("{status}  {}", migration.name))?;
    }
    unknown.iter().try_for_each(|version| print(&format!("unknown  {version} (of a newer version)")))
}

/// Migrates the database if it is SQLite, which no other process uses, or if `AUTO_MIGRATE` is set.
///
/// # Errors
/// If the schema is then not the one of this version.
pub(crate) async fn ensure_schema(config: &Config) -> Result<(), String> {
    let url = &config.database.url;
    if matches!(url, DatabaseUrl::Sqlite(_)) || config.auto_migrate {
        for name in infra_diesel::migrate(url, false).await.map_err(|error| database_error(url, &error))? {
            tracing::info!("applied migration {name}");
        }
    }
    let state = infra_diesel::schema_state(url).await.map_err(|error| database_error(url, &error))?;
    if !state.unknown.is_empty() {
        return Err(format!(
            "The database has migrations that this version does not know ({}): run a newer version.",
            state.unknown.join(", ")
        ));
    }
    if !state.is_current() {
        let pending = state.pending().join(", ");
        return Err(format!(
            "The database lacks migrations ({pending}): run `api migrate` (or `just migrate`) first, or set AUTO_MIGRATE=true."
        ));
    }
    Ok(())
}

fn database_error(url: &DatabaseUrl, error: &infra_diesel::DatabaseError) -> String {
    match url {
        // Errors of the file system do not name the file.
        DatabaseUrl::Sqlite(path) => format!("DATABASE_URL: {}: {error}", path.display()),
        DatabaseUrl::Postgres(_) => format!("DATABASE_URL: {error}"),
    }
}
