//! Mutated files never panic, and accepted ones are sanitized.

use std::sync::LazyLock;

use super::*;
use proptest::prelude::*;

static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(crate::testing::accepted);

#[derive(Debug, Clone)]
enum Change {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
    Repeat(prop::sample::Index, usize),
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        if file.is_empty() {
            return;
        }
        match self {
            Self::Set(at, byte) => *at.get_mut(file) = *byte,
            Self::Cut(at) => file.truncate(at.index(file.len())),
            Self::Remove(at, length) => {
                let at = at.index(file.len());
                file.drain(at..file.len().min(at + length));
            }
            Self::Insert(at, bytes) => {
                let at = at.index(file.len());
                file.splice(at..at, bytes.iter().copied());
            }
            Self::Repeat(at, length) => {
                let at = at.index(file.len());
                let part = file[at..file.len().min(at + length)].to_vec();
                file.splice(at..at, part);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        6 => (place(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        // Typical boundary values of lengths, markers and flags.
        4 => (place(), prop::sample::select(vec![0, 1, 0x7F, 0x80, 0xFE, 0xFF])).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => place().prop_map(Change::Cut),
        1 => (place(), 1..40_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (place(), 1..200_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
    ]
}

fn assert_refused_or_clean(file: &[u8]) -> Result<(), TestCaseError> {
    if let Ok((media, cleaned)) = inspect(file, Limits::default()) {
        let again = inspect(&cleaned, Limits::default());
        let Ok((media_again, cleaned_again)) = again else {
            return Err(TestCaseError::fail(format!("what was accepted is refused: {again:?}")));
        };
        prop_assert_eq!(media.format, media_again.format);
        prop_assert!(cleaned == cleaned_again, "sanitizing twice changes nothing");
        prop_assert!(cleaned.len() <= file.len() + 64, "nothing grows");
    }
    Ok(())
}

proptest! {
    // Failures are reported in full and not persisted.
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_file_is_rejected_or_sanitized(
        file in 0..FILES.len(),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let mut file = FILES[file].clone();
        for change in &changes {
            change.apply(&mut file);
        }
        assert_refused_or_clean(&file)?;
    }

    #[test]
    fn random_data_after_a_valid_start_is_rejected_or_sanitized(
        file in 0..FILES.len(),
        length in 0..80_usize,
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let file = &FILES[file];
        assert_refused_or_clean(&[&file[..length.min(file.len())], &rest].concat())?;
    }
}
