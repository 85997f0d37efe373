//! The work for a file is linear in its size, whatever it consists of.

use proptest::prelude::*;

use super::*;
use crate::{
    sanitizer::write_counted,
    testing::worst::{Worst, all},
};

const MIB: usize = 1 << 20;

/// Maximum steps per byte. Files of two-byte parts, the smallest that exist, take a handful for each part.
const MAX_STEPS_PER_BYTE: u64 = 24;

/// Steps that a file of any size may take.
const FIXED_STEPS: u64 = 200_000;

/// Sanitizes a file and returns the number of steps that it took and the error, if any.
fn steps(file: &[u8]) -> (u64, Option<Error>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upload");
    fs::write(&path, file).unwrap();
    let (steps, result) = write_counted(&path, Limits::default());
    (steps, result.err())
}

fn assert_linear(worst: &Worst, file: &[u8]) {
    let (steps, error) = steps(file);
    let most = FIXED_STEPS + MAX_STEPS_PER_BYTE * file.len() as u64;
    assert!(steps <= most, "{}: {steps} steps for {} bytes ({error:?})", worst.name, file.len());
}

/// The time that this thread was running, which other programs do not change.
fn cpu_time() -> Option<Duration> {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    statistics.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[test]
fn steps_grow_linearly_with_the_size_of_the_worst_files() {
    for worst in all() {
        for bytes in [MIB / 16, MIB] {
            assert_linear(&worst, &worst.of_size(bytes));
        }
    }
}

/// Unoptimized code takes about ten times as long as optimized code.
#[test]
fn worst_files_take_little_time() {
    let mut failures = Vec::new();
    for worst in all() {
        for (bytes, max) in [(MIB, Duration::from_secs(1)), (8 * MIB, Duration::from_secs(5))] {
            let file = worst.of_size(bytes);
            let Some(start) = cpu_time() else { return };
            let (_, error) = steps(&file);
            let time = cpu_time().unwrap().saturating_sub(start);
            if time > max {
                failures.push(format!("{}: {time:?} for {} bytes ({error:?})", worst.name, file.len()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn file_of_too_many_parts_is_malformed() {
    let webm = all().into_iter().find(|worst| worst.name == "WebM: blocks").unwrap();
    let (taken, error) = steps(&webm.of_parts(900_000));
    assert!(error.is_none() && taken > 900_000, "{error:?}");
    assert!(matches!(steps(&webm.of_parts(1_000_001)).1, Some(Error::Malformed("it has too many parts"))));
}

#[test]
fn video_of_too_many_tracks_is_malformed() {
    for name in ["WebM: tracks", "MP4: tracks"] {
        let worst = all().into_iter().find(|worst| worst.name == name).unwrap();
        assert!(steps(&worst.of_parts(24)).1.is_none(), "{name}");
        let error = steps(&worst.of_parts(33)).1;
        assert!(matches!(error, Some(Error::Malformed("it has too many tracks"))), "{name}: {error:?}");
    }
}

#[test]
fn file_that_takes_too_long_is_timed_out() {
    let limits = Limits { time: Duration::ZERO, ..Limits::default() };
    for file in crate::testing::accepted() {
        let error = inspect(&file, limits).unwrap_err();
        assert!(matches!(error, Error::TimedOut), "{error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steps_are_linear_in_the_number_of_parts(kind in 0..all().len(), parts in 0..60_000_usize) {
        let worst = &all()[kind];
        assert_linear(worst, &worst.of_parts(parts));
    }
}
