//! Spans of messages whose flow is traced: from the arrival of a record to the commit of the batch that took it. Of all others only
//! two bytes are looked at.

use std::collections::{HashMap, VecDeque};

use daybook_engine::{Record, SchemaLookup};
use daybook_events::{HeaderRef, TraceContext, is_sampled};
use daybook_service::TraceParent;
use daybook_service::telemetry::follow;
use tracing::{Span, field, info_span};

/// The most traced records of a partition that are under way; what is more has no span.
const UNDER_WAY_MAX: usize = 1_000;

/// The traced records of one part that have arrived and are not applied.
#[derive(Debug)]
pub(crate) struct Traces {
    part: &'static str,
    input: &'static str,
    under_way: HashMap<u16, VecDeque<(i64, Span)>>,
}

impl Traces {
    pub fn new(part: &'static str, input: &'static str) -> Self {
        Self { part, input, under_way: HashMap::new() }
    }

    /// Records of the data topic have arrived.
    pub fn arrived(&mut self, partition: u16, records: &[Record]) {
        for record in records {
            if record.header.as_deref().is_some_and(is_sampled) {
                self.begin(partition, record);
            }
        }
    }

    fn begin(&mut self, partition: u16, record: &Record) {
        let header = record.header.as_deref().and_then(|bytes| HeaderRef::decode(bytes).ok());
        let under_way = self.under_way.entry(partition).or_default();
        let Some(header) = header.filter(|_| under_way.len() < UNDER_WAY_MAX) else { return };
        let span = info_span!(
            "process",
            otel.name = format!("process {}", self.part),
            otel.kind = "consumer",
            messaging.system = "kafka",
            messaging.operation.name = "process",
            messaging.destination.name = self.input,
            messaging.destination.partition.id = partition,
            messaging.kafka.offset = record.offset,
            messaging.consumer.group.name = self.part,
            messaging.message.id = %header.message_id,
            messaging.message.conversation_id = %header.correlation_id,
            message_type = field::Empty,
        );
        if let SchemaLookup::Known(writer) = &record.schema {
            span.record("message_type", writer.full_name());
        }
        if let Some(parent) = header.trace.and_then(parent_of) {
            follow(&span, parent);
        }
        under_way.push_back((record.offset, span));
    }

    /// A batch is stored that took everything before `next`.
    pub fn applied(&mut self, partition: u16, next: i64) {
        let Some(under_way) = self.under_way.get_mut(&partition) else { return };
        let taken = under_way.partition_point(|(offset, _)| *offset < next);
        under_way.drain(..taken);
    }

    /// The partition is not ours any more.
    pub fn forget(&mut self, partition: u16) {
        self.under_way.remove(&partition);
    }
}

/// The span of a call to the outside world for a flow; none where the flow is not traced.
pub(crate) fn of_call(part: &'static str, trace: Option<TraceContext>) -> Span {
    let Some(parent) = trace.filter(|trace| trace.sampled).and_then(parent_of) else {
        return Span::none();
    };
    let span = info_span!("effect", otel.name = format!("effect {part}"), otel.kind = "client", part);
    follow(&span, parent);
    span
}

fn parent_of(trace: TraceContext) -> Option<TraceParent> {
    TraceParent::new(trace.trace_id, trace.span_id, trace.sampled).ok()
}

#[cfg(test)]
mod tests {
    use daybook_engine::Stream;
    use daybook_events::{Header, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn record(offset: i64, sampled: bool) -> Record {
        let trace = Some(TraceContext { trace_id: [1; 16], span_id: [2; 8], sampled });
        let mut header = Vec::new();
        Header { trace, ..Header::first(Uuid::from_u128(1), Timestamp(0)) }.encode(&mut header).unwrap();
        Record {
            stream: Stream::Data,
            partition: 3,
            offset,
            time: Timestamp(0),
            key: None,
            header: Some(header.into()),
            value: None,
            schema: SchemaLookup::Unframed,
        }
    }

    fn offsets(traces: &Traces) -> Vec<i64> {
        traces.under_way.values().flatten().map(|(offset, _)| *offset).collect()
    }

    #[test]
    fn only_traced_records_have_a_span_and_it_ends_when_they_are_applied() {
        let mut traces = Traces::new("courses", "learning.course.commands.v1");
        let records: Vec<Record> = (0..6).map(|offset| record(offset, offset % 2 == 0)).collect();
        traces.arrived(3, &records);
        assert_eq!(offsets(&traces), [0_i64, 2, 4]);
        traces.applied(3, 3);
        assert_eq!(offsets(&traces), [4_i64]);
        traces.forget(3);
        assert!(offsets(&traces).is_empty());
    }

    #[test]
    fn their_number_is_bounded() {
        let mut traces = Traces::new("courses", "learning.course.commands.v1");
        let records: Vec<Record> = (0..2_000).map(|offset| record(offset, true)).collect();
        traces.arrived(3, &records);
        assert_eq!(offsets(&traces).len(), UNDER_WAY_MAX);
    }
}
