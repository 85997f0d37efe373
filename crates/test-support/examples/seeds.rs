//! Writes the seeds of the fuzzer: `cargo run -p test-support --example seeds -- FOLDER TARGET...`

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or(io::ErrorKind::InvalidInput)?);
    for target in arguments {
        let folder = folder.join(&target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in test_support::seeds::of(&target).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), seed)?;
        }
    }
    Ok(())
}
