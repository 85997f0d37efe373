//! What every request with a token pays first.

#![allow(missing_docs, clippy::unwrap_used)] // what the macros make; a benchmark may panic

use std::hint::black_box;

use application::tokens::{AccessToken, Tokens};
use chrono::{TimeDelta, Utc};
use criterion::{Criterion, criterion_group, criterion_main};
use domain::{
    sessions::{RefreshId, SessionId},
    users::UserId,
};

fn tokens(c: &mut Criterion) {
    let (day, now) = (TimeDelta::days(1), Utc::now());
    let tokens = Tokens::new(b"a key that is used by benchmarks only", day, day);
    let refresh = RefreshId("first".into());
    let pair = || tokens.pair(UserId(7), SessionId(9), &refresh, now, now, now + day).unwrap();
    let access = AccessToken(pair().access);
    c.bench_function("access token checked", |b| b.iter(|| tokens.access(black_box(&access)).unwrap()));
    c.bench_function("token pair signed", |b| b.iter(pair));
}

criterion_group!(benches, tokens);
criterion_main!(benches);
