//! Internals that the benchmarks measure.

use domain::posts::PostView;
use serde::Serialize;

pub use crate::pagination::{Cursors, List};
use crate::{
    pagination::PageInfo,
    routes::posts::{PostResponse, PostsResponse},
};

/// Returns the body of `GET /posts/`.
pub fn page_of_posts(posts: Vec<PostView>, next_cursor: Option<String>) -> impl Serialize {
    let info = PageInfo { total: 100_000, page: 1, page_size: 20, total_pages: 5_000, next_cursor };
    PostsResponse { posts: posts.into_iter().map(|post| PostResponse::new(post, None)).collect(), info }
}
