//! Log lines: one JSON object each, with the ids that join a line to its trace and its flow.
//!
//! ```text
//! {"time":"2026-03-01T12:00:00.000000Z","level":"info","target":"daybook_engine","message":"batch committed",
//!  "records":42,"span":"batch","trace_id":"…","span_id":"…","correlation_id":"…"}
//! ```

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::OnceLock;

use opentelemetry::trace::TraceContextExt as _;
use serde_json::{Map, Value};
use tracing::dispatcher::WeakDispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::clock::{Clock as _, SystemClock, rfc3339};

/// The most bytes of a field's value.
const VALUE_MAX_BYTES: usize = 8 * 1024;

const CORRELATION: &str = "correlation_id";

pub(super) struct JsonLines<W> {
    writer: W,
    clock: SystemClock,
    /// The way to a span's trace ids; set when the subscriber is in place.
    dispatch: OnceLock<WeakDispatch>,
}

impl<W> JsonLines<W> {
    pub(super) fn new(writer: W) -> Self {
        JsonLines { writer, clock: SystemClock::default(), dispatch: OnceLock::new() }
    }
}

/// A span's `correlation_id`.
struct Correlation(Value);

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        self.dispatch.get_or_init(|| dispatch.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        remember_correlation(fields, id, &context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        remember_correlation(fields, id, &context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = Map::new();
        line.insert("time".to_owned(), rfc3339(self.clock.wall()).into());
        line.insert("level".to_owned(), metadata.level().as_str().to_ascii_lowercase().into());
        line.insert("target".to_owned(), metadata.target().into());
        line.extend(fields.0);
        if let Some(span) = context.event_span(event) {
            self.add_span(&span, &mut line);
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // One write per line, so that lines of several threads don't mix. There is nowhere left to tell of a failure.
        drop(self.writer.make_writer_for(metadata).write_all(text.as_bytes()));
    }
}

impl<W> JsonLines<W> {
    fn add_span<S>(&self, span: &SpanRef<'_, S>, line: &mut Map<String, Value>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        line.insert("span".to_owned(), span.name().into());
        let dispatch = self.dispatch.get().and_then(WeakDispatch::upgrade);
        let context = dispatch.and_then(|dispatch| tracing_opentelemetry::get_otel_context(&span.id(), &dispatch));
        if let Some(context) = context {
            let ids = context.span().span_context().clone();
            line.insert("trace_id".to_owned(), ids.trace_id().to_string().into());
            line.insert("span_id".to_owned(), ids.span_id().to_string().into());
        }
        let of_span = |span: SpanRef<'_, S>| Some(span.extensions().get::<Correlation>()?.0.clone());
        if let Some(correlation) = span.scope().find_map(of_span) {
            line.entry(CORRELATION).or_insert(correlation);
        }
    }
}

fn remember_correlation<S>(mut fields: Fields, id: &Id, context: &Context<'_, S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if let (Some(correlation), Some(span)) = (fields.0.remove(CORRELATION), context.span(id)) {
        span.extensions_mut().replace(Correlation(correlation));
    }
}

/// Collects fields by name.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, bounded(format_args!("{value}")));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, bounded(format_args!("{value:?}")));
    }
}

/// `value` as text; what is too long is cut, and marked so.
fn bounded(value: fmt::Arguments<'_>) -> String {
    let mut text = Bounded::default();
    if text.write_fmt(value).is_err() {
        text.0.push('…');
    }
    text.0
}

/// Refuses more than [`VALUE_MAX_BYTES`], so that a huge value isn't written in full only to be cut.
#[derive(Default)]
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = VALUE_MAX_BYTES - self.0.len();
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}
