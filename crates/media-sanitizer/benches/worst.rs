//! The time for a MiB of each kind of file that consists of many tiny parts, and of plain files.

#![allow(missing_docs, clippy::unwrap_used)] // macro-generated items; a benchmark may panic

use std::{fs, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use media_sanitizer::{
    Limits, Sanitizer,
    testing::{images, videos, worst},
};

const MIB: usize = 1 << 20;

/// Files that are one long part.
fn plain() -> Vec<(&'static str, Vec<u8>)> {
    let (jpeg, zeros) = (images::jpeg(), vec![0; MIB]);
    let scan = [&jpeg[..jpeg.len() - 2], &zeros, &[0xFF, 0xD9]].concat();
    let sample = videos::mp4_box(b"mdat", &[&zeros]);
    vec![
        ("plain JPEG", scan),
        ("plain PNG", images::png_with(&[images::png_chunk(b"IDAT", &zeros)])),
        ("plain MP4", videos::mp4_with(&videos::movie(&[&videos::simple_track()]), &sample)),
    ]
}

fn bench(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upload");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let sanitizer = Sanitizer::new(Limits::default(), 1);
    let mut group = criterion.benchmark_group("sanitize a MiB");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    let worst = worst::all().into_iter().map(|worst| (worst.name, worst.of_size(MIB)));
    for (name, file) in worst.chain(plain()) {
        group.throughput(Throughput::Bytes(file.len() as u64));
        group.bench_function(name, |bencher| {
            // Accepted files are replaced.
            let write = || fs::write(&path, &file).unwrap();
            let sanitize = |()| runtime.block_on(sanitizer.sanitize(&path)).map(|file| file.size).ok();
            bencher.iter_batched(write, sanitize, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
