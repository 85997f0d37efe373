//! The stream of a request body: counts its bytes to the budget of its address, and fails if the client is too slow.

use std::{
    cell::RefCell,
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::{
    HttpMessage as _,
    dev::{Payload, ServiceRequest},
    error::PayloadError,
    web::Bytes,
};
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep};

use super::budget::{Budget, Share};

/// How fast a body must arrive. Only the time for which the server waits for the client counts.
#[derive(Debug, Clone, Copy)]
pub struct BodyPace {
    /// How long the client may send nothing.
    pub idle_timeout: Duration,
    /// How long a body may take in total.
    pub timeout: Duration,
    /// How long any body may take, however few bytes arrive.
    pub grace: Duration,
    /// Bytes per second that must arrive on average after the grace time.
    pub min_rate: u32,
}

impl BodyPace {
    /// Returns how much longer the server waits for the next bytes: each one that has arrived extends the time.
    fn patience(self, received: usize, waited: Duration) -> Duration {
        let earned = Duration::from_secs(received as u64) / self.min_rate;
        (self.grace + earned).min(self.timeout).saturating_sub(waited).min(self.idle_timeout)
    }
}

/// What a request's body holds of the budget, until the response.
#[derive(Clone)]
pub(crate) struct BodyShare(Rc<RefCell<Share<IpAddr>>>);

impl BodyShare {
    /// Releases bytes that are no longer in memory.
    pub(super) fn release(&self, bytes: usize) {
        self.0.borrow_mut().shrink(bytes);
    }
}

/// Replaces the body of a request by one that is bounded.
pub(crate) fn bound_body(
    request: &mut ServiceRequest,
    pace: BodyPace,
    budget: &Budget<IpAddr>,
    address: IpAddr,
) {
    let payload = request.take_payload();
    if matches!(payload, Payload::None) {
        return;
    }
    let share = BodyShare(Rc::new(RefCell::new(budget.share(address))));
    let stream =
        BoundedBody { payload, pace, share: share.clone(), received: 0, waited: Duration::ZERO, wait: None };
    request.set_payload(Payload::Stream { payload: Box::pin(stream) });
    request.extensions_mut().insert(share);
}

struct BoundedBody {
    payload: Payload,
    pace: BodyPace,
    share: BodyShare,
    received: usize,
    waited: Duration,
    /// Since when the server waits for the next bytes, and how long it will.
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Stream for BoundedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Poll::Ready(item) = Pin::new(&mut this.payload).poll_next(cx) else {
            let (_, timer) = this.wait.get_or_insert_with(|| {
                (Instant::now(), Box::pin(sleep(this.pace.patience(this.received, this.waited))))
            });
            ready!(timer.as_mut().poll(cx));
            return Poll::Ready(Some(Err(PayloadError::Io(io::ErrorKind::TimedOut.into()))));
        };
        if let Some((since, _)) = this.wait.take() {
            this.waited += since.elapsed();
        }
        if let Some(Ok(chunk)) = &item {
            this.received += chunk.len();
            if let Err(exceeded) = this.share.0.borrow_mut().grow(chunk.len()) {
                return Poll::Ready(Some(Err(PayloadError::Io(exceeded.into()))));
            }
        }
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrived_bytes_extend_the_time_up_to_the_bounds() {
        let seconds = Duration::from_secs;
        let pace =
            BodyPace { idle_timeout: seconds(20), timeout: seconds(60), grace: seconds(10), min_rate: 1000 };
        let patience = |received, waited| pace.patience(received, seconds(waited)).as_secs();
        assert_eq!([patience(0, 0), patience(0, 8), patience(0, 11)], [10, 2, 0]);
        assert_eq!([patience(5000, 0), patience(5000, 14), patience(5000, 15)], [15, 1, 0]);
        // A large body may pause, but neither for long nor forever.
        assert_eq!([patience(1_000_000, 0), patience(1_000_000, 55), patience(1_000_000, 60)], [20, 5, 0]);
    }
}
