//! Lists in pages: their cursors and their JSON.

#![allow(missing_docs, clippy::unwrap_used)] // macro-generated items; a benchmark may panic

use std::hint::black_box;

use api::bench::{Cursors, List, page_of_posts};
use application::keyed_hash::KeyedHash;
use chrono::{DateTime, Utc};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use domain::{
    posts::{PostId, PostView},
    users::UserId,
};

fn post(id: i64, at: DateTime<Utc>) -> PostView {
    PostView {
        id: PostId(id),
        author: UserId(id % 100),
        author_username: format!("user{id}"),
        content: Some("What people write: some words, a \"quotation\" and now and then a ☕. ".repeat(3)),
        media: None,
        is_private: false,
        likes_count: 12,
        comments_count: 3,
        liked_by_me: id % 2 == 0,
        created_at: at,
        updated_at: None,
    }
}

fn pages(c: &mut Criterion) {
    let cursors = Cursors::new(KeyedHash::new(b"a key for benchmarks"));
    let (list, at) = (List("posts".into()), DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap());
    let cursor = cursors.encode(&list, 42);
    c.bench_function("encode a cursor", |b| b.iter(|| cursors.encode(&list, black_box(42))));
    c.bench_function("decode a cursor", |b| b.iter(|| cursors.decode(&list, black_box(&cursor)).unwrap()));
    let posts: Vec<_> = (1..=20).map(|id| post(id, at)).collect();
    c.bench_function("serialize a page of 20 posts", |b| {
        b.iter_batched(
            || posts.clone(),
            |posts| serde_json::to_vec(&page_of_posts(posts, Some(cursor.clone()))).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, pages);
criterion_main!(benches);
