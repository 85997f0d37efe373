//! The JSON shapes and header formats that REST and Socket.IO share.

mod bearer;
mod notification;
mod problem;
mod timestamp;

pub use crate::{
    bearer::bearer_token,
    notification::{Notification, NotificationKind},
    problem::{PROBLEM_KINDS, ProblemDetails, ProblemKind},
    timestamp::format_timestamp,
};
