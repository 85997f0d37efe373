//! What every request with a token pays first.

#![allow(missing_docs, clippy::unwrap_used)] // what the macros make; a benchmark may panic

use std::hint::black_box;

use application::tokens::{AccessToken, TokenService};
use chrono::{TimeDelta, Utc};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use domain::{
    sessions::{RefreshId, SessionId},
    users::UserId,
};

const KEY: &[u8] = b"a key that is used by benchmarks only";

fn tokens(c: &mut Criterion) {
    let (day, now) = (TimeDelta::days(1), Utc::now());
    let tokens = TokenService::new(KEY, day, day);
    let refresh = RefreshId("first".into());
    let pair = || tokens.issue_pair(UserId(7), SessionId(9), &refresh, now, now, now + day).unwrap();
    let access = pair().access;
    c.bench_function("access token shown again", |b| {
        b.iter(|| tokens.verify_access(black_box(AccessToken(&access))).unwrap());
    });
    c.bench_function("access token checked", |b| {
        let fresh = || TokenService::new(KEY, day, day);
        let check = |tokens: TokenService| tokens.verify_access(black_box(AccessToken(&access))).unwrap();
        b.iter_batched(fresh, check, BatchSize::SmallInput);
    });
    c.bench_function("token pair signed", |b| b.iter(pair));
}

criterion_group!(benches, tokens);
criterion_main!(benches);
