//! Limits of request bodies, and the errors of bodies that exceed them or are broken.

use std::{io, net::IpAddr, sync::Arc};

use actix_web::error::PayloadError;
use application::media::MediaInspector;
use domain::users::UserId;

use super::{
    body_stream::BodyPace,
    budget::{Budget, Exceeded},
    upload_dir::UploadDir,
    upload_slots::UploadSlots,
};
use crate::error::{ApiError, FieldError};

/// Limits of request bodies.
#[derive(Debug, Clone)]
pub struct BodyLimits {
    /// Directory of files that are being received.
    pub upload_dir: Arc<dyn UploadDir>,
    /// Bounds the files that are processed at once.
    pub upload_slots: UploadSlots,
    /// Bounds the bytes of files that are being received or processed, in total and for each user.
    pub upload_budget: Budget<UserId>,
    /// Determines from its first bytes how large a file may be.
    pub inspector: MediaInspector,
    /// How fast a body must arrive.
    pub pace: BodyPace,
    /// Bounds the bytes of bodies in memory, in total and for each client address.
    pub memory: Budget<IpAddr>,
}

pub(super) fn too_large() -> ApiError {
    ApiError::of_status(413)
}

pub(super) fn malformed(message: &str) -> ApiError {
    ApiError::invalid(vec![FieldError::new("body", "", "value_error", message)])
}

pub(super) fn payload_error(error: &PayloadError) -> ApiError {
    match error {
        PayloadError::Overflow => too_large(),
        PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut => ApiError::of_status(408),
        PayloadError::Io(error) => Exceeded::of(error).map_or_else(broken, ApiError::from),
        _ => broken(),
    }
}

fn broken() -> ApiError {
    ApiError::new("bad_request", "The body is broken")
}
