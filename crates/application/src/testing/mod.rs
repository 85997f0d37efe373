//! In-memory implementations of all ports, for fast tests of use cases and routes.
//!
//! They keep the contracts of the ports: the contract tests of the repositories run on them as well as on the
//! databases.
//!
//! ```
//! use std::sync::Arc;
//!
//! use application::testing::InMemory;
//! use domain::{media::MediaRepository, posts::PostRepository};
//!
//! let memory = InMemory::default();
//! let posts: Arc<dyn PostRepository> = Arc::new(memory.clone());
//! let media: Arc<dyn MediaRepository> = Arc::new(memory);
//! ```

mod accounts;
mod clock;
mod comments;
mod follows;
mod mailer;
mod maintenance;
mod media;
mod media_store;
mod notifications;
mod notifier;
mod outbox;
mod posts;
mod sessions;
mod store;

pub use self::{
    clock::ManualClock, mailer::RecordingMailer, media_store::InMemoryMediaStore,
    notifier::RecordingNotifier, store::InMemory,
};
pub use crate::rate_limit::LocalLimiter;
