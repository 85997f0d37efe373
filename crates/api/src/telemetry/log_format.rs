//! Formats of log lines. The library's own formats cost about four times as much: its JSON format parses the fields of
//! the span for every line, its text format handles colors even without a terminal.

use std::fmt::{self, Debug, Write as _};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// The format of a log line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Format {
    /// For people.
    Text {
        /// Whether the output is a terminal that shows colors.
        has_colors: bool,
    },
    /// For programs: one JSON object.
    Json,
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let span = context.event_scope().and_then(|mut scope| scope.next());
        match self {
            Self::Text { has_colors } => {
                SystemTime.format_time(&mut writer)?;
                let color = match level {
                    Level::ERROR => 31,
                    Level::WARN => 33,
                    Level::INFO => 32,
                    Level::DEBUG => 34,
                    Level::TRACE => 35,
                };
                if *has_colors {
                    write!(writer, " \x1b[{color}m{level:>5}\x1b[0m ")?;
                } else {
                    write!(writer, " {level:>5} ")?;
                }
                if let Some(span) = &span {
                    let extensions = span.extensions();
                    let fields = extensions.get::<FormattedFields<N>>().map_or("", |fields| &fields.fields);
                    write_all(&mut writer, &[span.name(), "{", fields, "}: "])?;
                }
                context.format_fields(writer.by_ref(), event)?;
            }
            Self::Json => {
                writer.write_str("{\"timestamp\":\"")?;
                SystemTime.format_time(&mut writer)?;
                write_all(&mut writer, &["\",\"level\":\"", level.as_str(), "\",\"target\":"])?;
                quote(&mut writer, target)?;
                writer.write_char(',')?;
                context.format_fields(writer.by_ref(), event)?;
                if let Some(span) = &span {
                    let extensions = span.extensions();
                    let fields = extensions.get::<FormattedFields<N>>().map_or("", |fields| &fields.fields);
                    writer.write_str(",\"span\":{\"name\":")?;
                    quote(&mut writer, span.name())?;
                    write_all(&mut writer, &[if fields.is_empty() { "" } else { "," }, fields, "}"])?;
                }
                writer.write_char('}')?;
            }
        }
        writer.write_char('\n')
    }
}

impl<'w> FormatFields<'w> for Format {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Visitor { writer, format: *self, is_first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Visitor<'w> {
    writer: Writer<'w>,
    format: Format,
    is_first: bool,
    result: fmt::Result,
}

impl Visitor<'_> {
    /// Writes one field; the message of a line of text has no name.
    fn field(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>, Format) -> fmt::Result) {
        // The bridge from `log` repeats in fields what the line has already.
        if self.result.is_err() || field.name().starts_with("log.") {
            return;
        }
        let is_first = std::mem::take(&mut self.is_first);
        let name = field.name().strip_prefix("r#").unwrap_or(field.name());
        let parts = match self.format {
            Format::Json => [if is_first { "\"" } else { ",\"" }, name, "\":"],
            Format::Text { .. } if name == "message" => [if is_first { "" } else { " " }, "", ""],
            Format::Text { .. } => [if is_first { "" } else { " " }, name, "="],
        };
        self.result = write_all(&mut self.writer, &parts).and_then(|()| value(&mut self.writer, self.format));
    }
}

fn write_all(writer: &mut Writer<'_>, parts: &[&str]) -> fmt::Result {
    parts.iter().try_for_each(|part| writer.write_str(part))
}

impl Visit for Visitor<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |writer, _| write!(writer, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |writer, _| write!(writer, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |writer, _| write!(writer, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |writer, format| match format {
            Format::Text { .. } => write!(writer, "{value:?}"),
            Format::Json => quote(writer, value),
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, |writer, format| match format {
            Format::Text { .. } => write!(Plain(writer), "{value:?}"),
            Format::Json => quote(writer, &format!("{value:?}")),
        });
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let causes = std::iter::successors(value.source(), |cause| cause.source());
        causes.for_each(|cause| text.extend([": ", &cause.to_string()]));
        self.record_debug(field, &format_args!("{text}"));
    }
}

/// A string of JSON (RFC 8259, section 7).
fn quote(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        return write_all(writer, &["\"", text, "\""]);
    }
    writer.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}

/// Escapes characters that could start a new line or control a terminal.
struct Plain<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Plain<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.chars().any(char::is_control) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|char| {
            if char.is_control() {
                write!(self.0, "{}", char.escape_default())
            } else {
                self.0.write_char(char)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::{fmt, layer::SubscriberExt as _};

    use super::*;

    /// Returns what `emit` logs.
    fn log(format: Format, emit: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Lines {
            fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(line)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer().event_format(format).fmt_fields(format).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), emit);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    const HOSTILE: &str = "a\nb\"c\u{1b}[31m\u{9b}é";

    fn emit() {
        let span = tracing::info_span!("request", id = "abc", path = HOSTILE);
        let error = std::io::Error::other(HOSTILE);
        span.in_scope(|| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, post.id = 7, cause = %HOSTILE, is_new = true, "{HOSTILE}");
        });
        tracing::info!(status = 200, "responded");
    }

    #[test]
    fn text_is_one_line_whatever_its_content() {
        let text = log(Format::Text { has_colors: false }, emit);
        let lines: Vec<&str> = text.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
        let plain = r#"a\nb"c\u{1b}[31m\u{9b}é"#;
        let quoted = r#""a\nb\"c\u{1b}[31m\u{9b}é""#;
        let first = format!(
            " WARN request{{id=\"abc\" path={quoted}}}: {plain} error={plain} post.id=7 cause={plain} is_new=true"
        );
        assert_eq!(lines, [first.as_str(), " INFO responded status=200"]);
        let colored = log(Format::Text { has_colors: true }, emit);
        assert!(colored.contains("\u{1b}[33m WARN\u{1b}[0m "), "{colored}");
    }

    #[test]
    fn json_is_one_object_per_line() {
        let text = log(Format::Json, emit);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [first, second] = lines.as_slice() else { panic!("{text}") };
        assert!(first["timestamp"].as_str().unwrap().ends_with('Z'));
        assert_eq!((&first["level"], &second["level"]), (&"WARN".into(), &"INFO".into()));
        assert_eq!(first["span"], serde_json::json!({"name": "request", "id": "abc", "path": HOSTILE}));
        for field in ["message", "error", "cause"] {
            assert_eq!(first[field], HOSTILE);
        }
        assert_eq!((&first["post.id"], &first["is_new"]), (&7.into(), &true.into()));
        assert_eq!((&second["message"], &second["status"]), (&"responded".into(), &200.into()));
        assert_eq!((&second["target"], second.get("span")), (&module_path!().into(), None));
    }
}
