//! What a made-up network is to have; see [`seed`](crate::seed).

use domain::accounts::PasswordHash;

/// How much of everything there is to be. The same numbers make the same rows.
pub struct Seed {
    /// Users: `user1`, `user2`, …, with addresses at example.com.
    pub users: i64,
    /// Posts, of which every twentieth is private.
    pub posts: i64,
    /// Likes; pairs that come up twice count once, so there are a few less.
    pub likes: i64,
    /// Comments.
    pub comments: i64,
    /// Follows; likewise a few less.
    pub follows: i64,
    /// Chooses who does what.
    pub seed: u32,
    /// The password of every user.
    pub password: PasswordHash,
}
