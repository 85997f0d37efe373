//! `api seed`.

use application::passwords::{PasswordHasher, Requester};
use bench_data::Seed;

use super::{config, migrate::ensure_schema, print};

/// The password of every generated user.
const SEED_PASSWORD: &str = "password123";

/// How much data to generate. Equal arguments generate equal rows.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Number of users.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=100_000_000))]
    users: i64,
    /// Number of posts; every twentieth is private.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=100_000_000))]
    posts: i64,
    /// Maximum number of likes [default: 5 per post].
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    likes: Option<i64>,
    /// Number of comments [default: 2 per post].
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    comments: Option<i64>,
    /// Maximum number of follows [default: 3 per post].
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    follows: Option<i64>,
    /// Seed of the random generator.
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

/// Fills the database.
pub(crate) async fn run(arguments: Arguments) -> Result<(), String> {
    let config = config()?;
    ensure_schema(&config).await?;
    let passwords = PasswordHasher::new(config.hash_cost, 1, 1).map_err(|error| error.to_string())?;
    let Arguments { users, posts, likes, comments, follows, seed } = arguments;
    let seed = Seed {
        users,
        posts,
        likes: likes.unwrap_or(5 * posts),
        comments: comments.unwrap_or(2 * posts),
        follows: follows.unwrap_or(3 * posts),
        seed,
        password: passwords
            .hash(SEED_PASSWORD.to_owned(), &Requester::local())
            .await
            .map_err(|error| error.to_string())?,
    };
    bench_data::seed(&config.database.url, &seed).await.map_err(|error| format!("DATABASE_URL: {error}"))?;
    print(&format!("{users} users with the password {SEED_PASSWORD}, {posts} posts"))
}
