//! Middleware that every request passes, from the outermost to the innermost: access log, CORS, rate limit, problem,
//! path normalization.

pub(crate) mod access_log;
pub(crate) mod normalize_path;
pub(crate) mod problem;
pub(crate) mod rate_limit;
pub(crate) mod request_id;
mod response_memory;
pub(crate) mod security_headers;
