//! Every parser that is fuzzed, on the seeds of the fuzzer and small variations of them.

use test_support::seeds;

/// The seed, its prefixes, and the seed with single bytes changed.
fn variations(seed: &[u8]) -> Vec<Vec<u8>> {
    let parts = (1..=8).map(|part| seed[..seed.len() * part / 8].to_vec());
    let positions =
        (0..8).map(|position| seed.len() * position / 8).filter(|position| *position < seed.len());
    let changed = positions.flat_map(|position| {
        [0, 0x7F, 0xFF, b'"', b'%'].map(|byte| {
            let mut changed = seed.to_vec();
            changed[position] = byte;
            changed
        })
    });
    parts.chain(changed).collect()
}

fn check(target: &str, parse: fn(&[u8])) {
    let seeds = seeds::of(target);
    assert!(!seeds.is_empty(), "{target} has no seeds");
    for input in seeds.iter().flat_map(|seed| variations(seed)) {
        parse(&input);
    }
}

#[test]
fn every_parser_handles_the_seeds_of_the_fuzzer() {
    for (target, parse) in api::fuzz::TARGETS {
        check(target, parse);
    }
    check("media", test_support::media::check_invariants);
    check("handshake", infra_socketio::fuzz::handshake);
}
