//! Writes the log. A line about a request that was answered may wait a moment for others: a system call for each would
//! be a good part of what a read costs. All else is written at once.

use std::{
    io::{self, Write},
    sync::{Condvar, Mutex, MutexGuard, Once, PoisonError},
    thread,
    time::Duration,
};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::ACCESS_LOG;

/// How long a line waits at most: what is lost when the process is killed.
const LONGEST: Duration = Duration::from_millis(100);
/// How many bytes wait at most.
const MOST: usize = 16 * 1024;

static LOG: Log = Log { lines: Mutex::new(Vec::new()), filled: Condvar::new() };
static WRITER: Once = Once::new();

/// The standard output, with the lines that wait for it.
pub(super) struct Log {
    lines: Mutex<Vec<u8>>,
    /// That there are some.
    filled: Condvar,
}

impl Log {
    /// The log of this process.
    pub(super) fn open() -> &'static Self {
        WRITER.call_once(|| {
            // Without it lines wait until there are many, or one that is urgent.
            let _ = thread::Builder::new().name("log".into()).spawn(|| LOG.write_in_time());
        });
        &LOG
    }

    /// Writes what waits.
    fn flush(&self) {
        write(&mut self.lines());
    }

    fn lines(&self) -> MutexGuard<'_, Vec<u8>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8], is_urgent: bool) {
        let mut lines = self.lines();
        let is_first = lines.is_empty();
        lines.extend_from_slice(line);
        if is_urgent || lines.len() >= MOST {
            write(&mut lines);
        } else if is_first {
            self.filled.notify_one();
        }
    }

    fn write_in_time(&self) -> ! {
        loop {
            let empty = |lines: &mut Vec<u8>| lines.is_empty();
            drop(self.filled.wait_while(self.lines(), empty).unwrap_or_else(PoisonError::into_inner));
            thread::sleep(LONGEST);
            self.flush();
        }
    }
}

/// Writes what waits, without anybody beginning to wait for more.
pub(super) fn flush() {
    LOG.flush();
}

/// What cannot be written is lost: there is nobody to be told.
fn write(lines: &mut Vec<u8>) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(lines).and_then(|()| out.flush());
    lines.clear();
}

/// Takes one line.
pub(super) struct Line {
    log: &'static Log,
    is_urgent: bool,
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.log.add(line, self.is_urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for &'static Log {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { log: self, is_urgent: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line { log: self, is_urgent: metadata.target() != ACCESS_LOG }
    }
}
