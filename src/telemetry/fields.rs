//! The fields of spans and events as text without colours: `name="value"`, `name=12`, the message without its name.
//!
//! Every request opens a span, so this is on the hot path: text that needs no escapes is copied as it is. What does need
//! them is escaped, so that nobody writes lines of their own into a log.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Writes fields as plain text.
pub(super) struct PlainFields;

impl<'w> FormatFields<'w> for PlainFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, result: Ok(()), empty: true };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    result: fmt::Result,
    empty: bool,
}

const MESSAGE: &str = "message";

impl Line<'_> {
    fn named(&mut self, field: &Field) -> fmt::Result {
        if !std::mem::replace(&mut self.empty, false) {
            self.writer.write_char(' ')?;
        }
        if field.name() != MESSAGE {
            self.writer.write_str(field.name())?;
            self.writer.write_char('=')?;
        }
        Ok(())
    }

    fn text(&mut self, field: &Field, value: &str) -> fmt::Result {
        self.named(field)?;
        let harmless = value.bytes().all(|b| (b == b' ' || b.is_ascii_graphic()) && b != b'"' && b != b'\\');
        match (harmless, field.name()) {
            (true, MESSAGE) => self.writer.write_str(value),
            (true, _) => {
                self.writer.write_char('"')?;
                self.writer.write_str(value)?;
                self.writer.write_char('"')
            }
            (false, _) => write!(self.writer, "{value:?}"),
        }
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.result = self.result.and_then(|()| self.text(field, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.result = self.result.and_then(|()| self.named(field)).and_then(|()| write!(self.writer, "{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn spans_and_events_are_written_and_line_ends_are_escaped() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .fmt_fields(PlainFields)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("request", id = "req_1", status = 201).entered();
            tracing::info!(path = "a\nb\"c", took = ?std::time::Duration::from_millis(3), "answered in time");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let wanted = " INFO request{id=\"req_1\" status=201}: vestibule::telemetry::fields::tests: \
                      answered in time path=\"a\\nb\\\"c\" took=3ms\n";
        assert_eq!(text, wanted);
    }
}
