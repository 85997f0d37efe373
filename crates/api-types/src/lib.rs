//! The JSON shapes, header formats and the rule of origins that REST and Socket.IO share.

mod bearer;
mod notification;
mod origins;
mod problem;
mod timestamp;

pub use crate::{
    bearer::{bearer_token, request_token},
    notification::{Notification, NotificationKind},
    origins::Origins,
    problem::{PROBLEM_KINDS, ProblemCode, ProblemDetails, ProblemKind},
    timestamp::format_timestamp,
};
