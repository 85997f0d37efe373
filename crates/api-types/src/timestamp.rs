//! Timestamps.

use chrono::{DateTime, SecondsFormat, Utc};

/// Formats a timestamp as RFC 3339 in UTC with microseconds: `2026-01-23T10:30:00.123456Z`.
pub fn format_timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
