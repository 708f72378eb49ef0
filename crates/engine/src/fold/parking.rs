//! Records that cannot be applied are kept.

use super::*;

impl Folder<'_> {
    pub(super) fn park(
        &mut self,
        partition: &Partition,
        work: &mut Work,
        understood: &Understood,
        origin: Origin<'_>,
        fault: Fault,
    ) {
        // Order is kept per key of the data topic; a control record stands behind nothing.
        let blocks = understood.record.stream == Stream::Data && understood.record.key.is_some();
        match origin {
            Origin::Fresh => self.park_record(partition, work, understood, None, fault, blocks),
            Origin::Held(number) => {
                self.let_go(partition, work, understood, number);
                self.park_record(partition, work, understood, None, fault, blocks);
            }
            Origin::Parked(parked) => self.park_record(partition, work, understood, Some(parked), fault, parked.blocks),
        }
    }

    pub(super) fn park_record(
        &mut self,
        partition: &Partition,
        work: &mut Work,
        understood: &Understood,
        again: Option<&Parked>,
        fault: Fault,
        blocks: bool,
    ) {
        let record = &understood.record;
        let id = again.map_or_else(|| parked_id(self.leaf.spec().name, record), |parked| parked.id);
        let parked = Parked {
            id,
            partition: partition.number,
            raw: understood.raw(),
            code: fault.code.to_owned(),
            detail: fault.detail,
            attempts: again.map_or(0, |parked| parked.attempts) + 1,
            parked_at: again.map_or(self.now, |parked| parked.parked_at),
            blocks,
        };
        if let Some(key) = parked.raw.key.as_ref().filter(|_| blocks) {
            work.change_blocked(partition, key, |blocked| blocked.parked = Some(id));
        }
        self.counters.parked += 1;
        self.alarms.push(Alarm::Parked {
            partition: partition.number,
            offset: record.offset,
            stream: record.stream,
            code: parked.code.clone(),
        });
        self.commit.parked_put.push(parked);
    }
}

fn parked_id(part: &str, record: &crate::Record) -> Uuid {
    let stream = match record.stream {
        Stream::Data => "data",
        Stream::Control => "control",
    };
    let name = format!("{part}/{stream}/{}/{}", record.partition, record.offset);
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}
