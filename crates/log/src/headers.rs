//! The headers of a published record.

use daybook_events::{HEADER_KEY, HeaderRef, Timestamp, TraceContext};
use uuid::Uuid;

/// Topics of the book itself, which others read too.
const EVENTS_MARK: &str = ".events.";

/// What the headers of one record are made of. Public for the benchmark that publishes the same headers by itself.
pub struct Envelope<'a> {
    /// Topic without prefix.
    pub topic: &'a str,
    /// Who publishes, as [`source`] writes it.
    pub source: &'a str,
    pub type_name: &'a str,
    pub message_id: Uuid,
    pub time: Timestamp,
    /// Value of the one header that our own readers read.
    pub header: &'a [u8],
}

/// `ce_source` of what this part publishes.
pub fn source(part: &str) -> String {
    format!("/daybook/{part}")
}

impl Envelope<'_> {
    /// Our own header; on events topics also CloudEvents in binary mode and, when sampled, the trace. At most eight.
    pub fn each(&self, mut tell: impl FnMut(&str, &[u8])) {
        tell(HEADER_KEY, self.header);
        if !self.topic.contains(EVENTS_MARK) {
            return;
        }
        tell("ce_specversion", b"1.0");
        tell("ce_id", self.message_id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        tell("ce_source", self.source.as_bytes());
        tell("ce_type", self.type_name.as_bytes());
        tell("ce_time", self.time.to_string().as_bytes());
        tell("content-type", b"application/avro");
        // The header was encoded by the engine; one that cannot be read has no trace to pass on.
        let trace = HeaderRef::decode(self.header).ok().and_then(|header| header.trace);
        if let Some(trace) = trace.filter(|trace| trace.sampled) {
            tell("traceparent", traceparent(&trace).as_bytes());
        }
    }
}

/// W3C Trace Context, version 00, sampled.
fn traceparent(trace: &TraceContext) -> String {
    format!("00-{:032x}-{:016x}-01", u128::from_be_bytes(trace.trace_id), u64::from_be_bytes(trace.span_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(topic: &str, sampled: Option<bool>) -> Vec<String> {
        let header = daybook_events::Header {
            trace: sampled.map(|sampled| TraceContext { trace_id: [1; 16], span_id: [2; 8], sampled }),
            ..daybook_events::Header::first(Uuid::from_u128(1), Timestamp(0))
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes).unwrap();
        let envelope = Envelope {
            topic,
            source: &source("courses"),
            type_name: "daybook.learning.SeatReserved",
            message_id: Uuid::from_u128(1),
            time: Timestamp(0),
            header: &bytes,
        };
        let mut names = Vec::new();
        envelope.each(|name, _| names.push(name.to_owned()));
        names
    }

    #[test]
    fn a_command_has_one_header() {
        assert_eq!(names("learning.course.commands.v1", Some(true)), ["db"]);
    }

    #[test]
    fn an_event_is_a_cloud_event_and_carries_a_sampled_trace() {
        let cloud = ["db", "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"];
        assert_eq!(names("learning.course.events.v1", Some(false)), cloud);
        assert_eq!(names("learning.course.events.v1", Some(true)).last().unwrap(), "traceparent");
    }

    #[test]
    fn a_trace_is_written_as_w3c_wants_it() {
        let trace = TraceContext { trace_id: [0xab; 16], span_id: [1; 8], sampled: true };
        assert_eq!(traceparent(&trace), "00-abababababababababababababababab-0101010101010101-01");
    }
}
