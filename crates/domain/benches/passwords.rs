//! The rules of new passwords.

#![allow(missing_docs, clippy::unwrap_used)] // what the macros make; a benchmark may panic

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use domain::accounts::NewPassword;

fn passwords(c: &mut Criterion) {
    for (name, password) in [("usual", "correct horse battery".to_owned()), ("longest", "é".repeat(128))] {
        c.bench_function(&format!("{name} password parsed"), |b| {
            b.iter(|| NewPassword::parse("password", black_box(&password)).unwrap());
        });
    }
}

criterion_group!(benches, passwords);
criterion_main!(benches);
