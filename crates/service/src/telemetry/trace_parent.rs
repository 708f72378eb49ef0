//! W3C Trace Context, level 1: `00-<32 hex: trace>-<16 hex: span>-<2 hex: flags>`, and the same in 25 bytes for the compact header
//! of messages.

use std::fmt;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Bytes of the compact form: trace, span, flags.
pub const TRACE_PARENT_BYTES: usize = TRACE_BYTES + SPAN_BYTES + 1;

const TRACE_BYTES: usize = 16;
const SPAN_BYTES: usize = 8;
const SAMPLED: u8 = 1;

/// Where in which trace something was caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: [u8; TRACE_BYTES],
    span: [u8; SPAN_BYTES],
    sampled: bool,
}

/// Not a trace parent. By the specification it is then ignored, and a new trace begins.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent: it must be 00-<32 hex>-<16 hex>-<2 hex>, neither id all zero")]
pub struct BadTraceParent;

impl TraceParent {
    /// Of its parts.
    ///
    /// # Errors
    /// When an id is all zero.
    pub fn new(trace: [u8; 16], span: [u8; 8], is_sampled: bool) -> Result<Self, BadTraceParent> {
        Self::checked(trace, span, u8::from(is_sampled))
    }

    /// Whether the flow is traced.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The trace's id in hex, as it stands in logs and problem documents.
    pub fn trace_id(&self) -> String {
        TraceId::from_bytes(self.trace).to_string()
    }

    /// The compact form.
    pub fn to_bytes(&self) -> [u8; TRACE_PARENT_BYTES] {
        let mut bytes = [0; TRACE_PARENT_BYTES];
        bytes[..TRACE_BYTES].copy_from_slice(&self.trace);
        bytes[TRACE_BYTES..TRACE_BYTES + SPAN_BYTES].copy_from_slice(&self.span);
        bytes[TRACE_BYTES + SPAN_BYTES] = u8::from(self.sampled);
        bytes
    }

    /// Reads the compact form.
    ///
    /// # Errors
    /// When an id is all zero.
    pub fn from_bytes(bytes: &[u8; TRACE_PARENT_BYTES]) -> Result<Self, BadTraceParent> {
        let (trace, rest) = bytes.split_first_chunk().ok_or(BadTraceParent)?;
        let (span, flags) = rest.split_first_chunk().ok_or(BadTraceParent)?;
        Self::checked(*trace, *span, flags[0])
    }

    fn checked(trace: [u8; TRACE_BYTES], span: [u8; SPAN_BYTES], flags: u8) -> Result<Self, BadTraceParent> {
        if trace == [0; TRACE_BYTES] || span == [0; SPAN_BYTES] {
            return Err(BadTraceParent);
        }
        Ok(TraceParent { trace, span, sampled: flags & SAMPLED != 0 })
    }

    fn of(context: &SpanContext) -> Option<Self> {
        context.is_valid().then(|| TraceParent {
            trace: context.trace_id().to_bytes(),
            span: context.span_id().to_bytes(),
            sampled: context.is_sampled(),
        })
    }

    fn remote_context(self) -> opentelemetry::Context {
        let flags = TraceFlags::default().with_sampled(self.sampled);
        let context = SpanContext::new(
            TraceId::from_bytes(self.trace),
            SpanId::from_bytes(self.span),
            flags,
            true,
            TraceState::default(),
        );
        opentelemetry::Context::new().with_remote_span_context(context)
    }
}

/// The `traceparent` header's value.
impl fmt::Display for TraceParent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace = TraceId::from_bytes(self.trace);
        let span = SpanId::from_bytes(self.span);
        write!(formatter, "00-{trace}-{span}-{:02x}", u8::from(self.sampled))
    }
}

impl FromStr for TraceParent {
    type Err = BadTraceParent;

    /// Reads a `traceparent` header. Later versions are read as far as version 00 goes, as the specification asks.
    fn from_str(text: &str) -> Result<Self, BadTraceParent> {
        let mut parts = text.trim().split('-');
        let version = hex::<1>(parts.next())?;
        let trace = hex(parts.next())?;
        let span = hex(parts.next())?;
        let flags = hex::<1>(parts.next())?;
        let more_follows = parts.next().is_some();
        if version == [0xff] || (version == [0] && more_follows) {
            return Err(BadTraceParent);
        }
        Self::checked(trace, span, flags[0])
    }
}

/// Exactly `BYTES` bytes in lower-case hex: the specification refuses upper case.
fn hex<const BYTES: usize>(text: Option<&str>) -> Result<[u8; BYTES], BadTraceParent> {
    let digits = text.ok_or(BadTraceParent)?.as_bytes();
    if digits.len() != BYTES * 2 {
        return Err(BadTraceParent);
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

fn digit(letter: u8) -> Result<u8, BadTraceParent> {
    match letter {
        b'0'..=b'9' => Ok(letter - b'0'),
        b'a'..=b'f' => Ok(letter - b'a' + 10),
        _ => Err(BadTraceParent),
    }
}

/// The place of the current span, to be handed on with what it causes. `None` outside of any span.
pub fn current() -> Option<TraceParent> {
    let context = Span::current().context();
    TraceParent::of(context.span().span_context())
}

/// Makes `span` a child of `parent`. Must be called before the span is first entered.
pub fn follow(span: &Span, parent: TraceParent) {
    if let Err(error) = span.set_parent(parent.remote_context()) {
        // A span that is filtered out, or no tracing at all: there is nothing to join.
        tracing::trace!(%error, "span has no place in the trace");
    }
}
