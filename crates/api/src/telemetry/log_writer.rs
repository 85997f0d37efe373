//! Writes the log on a thread of its own, so that a reader of the standard output that is slow or stopped never delays a
//! request.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::fd::AsFd as _,
    sync::OnceLock,
    thread,
    time::Duration,
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that wait while the output is blocked. Further lines are dropped and counted.
const MAX_WAITING_LINES: usize = 16 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;
/// How long the writer waits for more lines after it has written some. To wake it for each line, and a system call for
/// each, would be a notable part of the cost of a request.
const BATCH_INTERVAL: Duration = Duration::from_millis(50);

static DROPPED_LINES: OnceLock<ErrorCounter> = OnceLock::new();

/// Starts the writer. Lines that wait are written when the guard is dropped.
pub(super) fn start() -> io::Result<(NonBlocking, WorkerGuard)> {
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_WAITING_LINES)
        .thread_name("log")
        .finish(BatchWriter(BufWriter::with_capacity(BUFFER_BYTES, output)));
    let _ = DROPPED_LINES.set(writer.error_counter());
    Ok((writer, guard))
}

/// Returns the number of lines that were dropped since the start.
pub(super) fn dropped_lines() -> usize {
    DROPPED_LINES.get().map_or(0, ErrorCounter::dropped_lines)
}

/// Flushed whenever no line waits; then lets the next lines gather.
struct BatchWriter<W: Write>(W);

impl<W: Write> Write for BatchWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.0.flush();
        thread::sleep(BATCH_INTERVAL);
        result
    }
}
