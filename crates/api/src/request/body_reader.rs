//! Limits of size and time for request bodies.

use std::{path::PathBuf, time::Duration};

use application::media::MediaInspector;
use domain::users::UserId;
use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::upload_slots::{UploadSlot, UploadSlots};
use crate::error::{ApiError, FieldError, Result};

/// Bounds the size of a body without its files: fits the longest post with every character escaped.
pub(super) const MAX_TEXT_BYTES: usize = 256 * 1024;

/// Settings for reading bodies.
#[derive(Debug, Clone)]
pub struct BodyReader {
    /// Directory of files that are being received.
    pub upload_dir: PathBuf,
    /// Bounds the files that are being received.
    pub upload_slots: UploadSlots,
    /// Determines from its first bytes how large a file may be.
    pub inspector: MediaInspector,
    /// How long a client may send nothing.
    pub idle_timeout: Duration,
    /// How long a body may take in total.
    pub timeout: Duration,
}

/// The deadlines of a body that is being received.
pub(super) struct Deadlines<'a> {
    pub(super) reader: &'a BodyReader,
    deadline: Instant,
}

impl<'a> Deadlines<'a> {
    pub(super) fn start(reader: &'a BodyReader) -> Self {
        Self { reader, deadline: Instant::now() + reader.timeout }
    }

    /// Returns the next item of a stream.
    ///
    /// # Errors
    /// 408 if it takes too long.
    pub(super) async fn next<S: Stream + Unpin>(&self, stream: &mut S) -> Result<Option<S::Item>> {
        let deadline = self.deadline.min(Instant::now() + self.reader.idle_timeout);
        timeout_at(deadline, stream.next()).await.map_err(|_| ApiError::of_status(408))
    }

    /// Waits for an upload slot. The wait does not count towards the client's time.
    pub(super) async fn upload_slot(&mut self, user: UserId) -> Result<UploadSlot> {
        let started = Instant::now();
        let slot = timeout(self.reader.timeout, self.reader.upload_slots.acquire(user)).await;
        self.deadline += started.elapsed();
        Ok(slot.map_err(|_| domain::Error::overloaded())??)
    }
}

pub(super) fn too_large() -> ApiError {
    ApiError::of_status(413)
}

pub(super) fn malformed(message: &str) -> ApiError {
    ApiError::invalid(vec![FieldError::new("body", "", "value_error", message)])
}
