//! The command-line program.

mod commands;

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

use commands::{doctor, healthcheck, migrate, print, seed, serve};

/// Memory of a request is often freed by another thread than the one that allocated it. mimalloc takes no lock for that;
/// glibc takes one that a low-priority hashing thread may hold for long.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The backend of a social network.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server (the default).
    Serve,
    /// Apply pending database migrations.
    Migrate {
        /// Print the pending migrations without applying them.
        #[arg(long)]
        dry_run: bool,
        #[command(subcommand)]
        command: Option<MigrateCommand>,
    },
    /// Fill an empty database with generated data for benchmarks. Users are named user1, user2, …, with addresses at
    /// example.com and the password `password123`.
    Seed(seed::Arguments),
    /// Print the OpenAPI document.
    Openapi,
    /// Check the key, database, mail, media, Redis, CORS and clock, and suggest how to fix what fails.
    Doctor,
    /// Check that the server on this machine is ready, for containers.
    Healthcheck,
}

#[derive(Subcommand)]
enum MigrateCommand {
    /// List all migrations and whether they are applied.
    Status,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run().await,
        Command::Migrate { command: Some(MigrateCommand::Status), .. } => migrate::status().await,
        Command::Migrate { dry_run, .. } => migrate::run(dry_run).await,
        Command::Seed(arguments) => seed::run(arguments).await,
        Command::Openapi => print(&format!("{:#}", api::docs::openapi::document())),
        Command::Doctor => doctor::run().await,
        Command::Healthcheck => healthcheck::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}
