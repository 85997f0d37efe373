//! A bounded queue that drops what does not fit, and remembers that it did.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::mpsc::{self, error::TrySendError};

/// The sending end.
pub(crate) struct LossySender<T> {
    queue: mpsc::Sender<T>,
    has_overflowed: Arc<AtomicBool>,
}

/// The receiving end.
pub(crate) struct LossyReceiver<T> {
    queue: mpsc::Receiver<T>,
    has_overflowed: Arc<AtomicBool>,
}

/// Creates a queue of at most `capacity` items.
pub(crate) fn lossy_queue<T>(capacity: usize) -> (LossySender<T>, LossyReceiver<T>) {
    let (sender, receiver) = mpsc::channel(capacity);
    let has_overflowed = Arc::<AtomicBool>::default();
    let sender = LossySender { queue: sender, has_overflowed: has_overflowed.clone() };
    (sender, LossyReceiver { queue: receiver, has_overflowed })
}

impl<T> LossySender<T> {
    /// Queues an item, or drops it if the queue is full.
    pub(crate) fn send(&self, item: T) {
        // A closed queue means that its receiver has stopped and needs nothing any more.
        if let Err(TrySendError::Full(_)) = self.queue.try_send(item) {
            self.has_overflowed.store(true, Ordering::Relaxed);
        }
    }
}

impl<T> LossyReceiver<T> {
    /// Appends the next items to `batch`, at most `limit`. Returns `false` if all senders are gone.
    pub(crate) async fn receive(&mut self, batch: &mut Vec<T>, limit: usize) -> bool {
        self.queue.recv_many(batch, limit).await > 0
    }

    /// Returns whether items were dropped since the last call.
    pub(crate) fn take_overflow(&self) -> bool {
        self.has_overflowed.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn full_queue_reports_the_overflow_once_and_keeps_what_it_has() {
        let (sender, mut receiver) = lossy_queue(3);
        for item in 0..3 {
            sender.send(item);
        }
        assert!(!receiver.take_overflow());
        sender.send(3);
        assert!(receiver.take_overflow());
        assert!(!receiver.take_overflow());
        let mut batch = Vec::new();
        assert!(receiver.receive(&mut batch, 2).await);
        assert_eq!(batch, [0, 1]);
        sender.send(4);
        assert!(!receiver.take_overflow());
    }
}
