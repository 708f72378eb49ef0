//! Records that cannot be applied are kept.

use daybook_events::RecordParked;

use super::*;

impl Folder<'_> {
    /// Held though nothing is known to block its key: it will be released by what is found later.
    pub(super) fn set_aside(&mut self, partition: &Partition, work: &mut Work, understood: &Understood) {
        if self.take(partition, work, understood)
            && let Some(key) = understood.raw_key()
        {
            self.hold(partition, work, key, understood);
        }
    }

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

    /// What was held has had its turn.
    pub(super) fn let_go(&mut self, partition: &Partition, work: &mut Work, understood: &Understood, number: u64) {
        self.commit.held_gone.push((partition.number, number));
        work.held -= 1;
        if let Some(key) = understood.raw_key() {
            work.change_blocked(partition, &key, |blocked| blocked.held -= 1);
        }
    }

    /// The key no longer waits behind this record.
    pub(super) fn unpark(&mut self, partition: &Partition, work: &mut Work, parked: &Parked) {
        if let Some(key) = parked.raw.key.as_ref().filter(|_| parked.blocks) {
            work.change_blocked(partition, key, |blocked| {
                blocked.parked = blocked.parked.filter(|id| *id != parked.id);
            });
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
        let id = again.map_or_else(
            || parked_id(self.leaf.spec().name, record.partition, record.stream, record.offset),
            |parked| parked.id,
        );
        // A verb before this one may have parked it again in the same batch.
        let before = self.commit.parked_put.iter().rev().find(|parked| parked.id == id).or(again);
        let parked = Parked {
            id,
            partition: partition.number,
            raw: understood.raw(),
            code: fault.code.to_owned(),
            detail: fault.detail,
            attempts: before.map_or(0, |parked| parked.attempts) + 1,
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
        self.tell_parked(partition, work, understood, &parked);
        self.commit.parked_put.push(parked);
    }

    /// Tells the book of it, for those who read no table.
    fn tell_parked(&mut self, partition: &Partition, work: &mut Work, understood: &Understood, parked: &Parked) {
        let alone = Thread { correlation_id: parked.id, ..Thread::default() };
        let thread = understood.header.as_ref().map_or(alone, thread_of);
        let cause = Cause { message_id: parked.id, thread, outside: None };
        let told = self.record_parked(understood, parked);
        let drafts = self.parked_drafts(&cause, parked, &told).or_else(|_| {
            self.parked_drafts(&cause, parked, &RecordParked { key: None, header: None, value: None, ..told })
        });
        match drafts {
            Ok(drafts) => self.publish(partition, work, &cause, drafts),
            Err(fault) => {
                self.alarms.push(Alarm::Untold { partition: partition.number, code: fault.code.to_owned() });
            }
        }
    }

    fn parked_drafts(&mut self, cause: &Cause, parked: &Parked, told: &RecordParked) -> Result<Vec<Draft>, Fault> {
        let id = Uuid::new_v5(&parked.id, &parked.attempts.to_be_bytes());
        let emit = Emit { id: Some(id), ..encoded(told)? };
        self.drafts(cause, vec![emit])
    }

    fn record_parked(&self, understood: &Understood, parked: &Parked) -> RecordParked {
        let spec = self.leaf.spec();
        let topic = match understood.record.stream {
            Stream::Data => spec.input,
            Stream::Control => &spec.control,
        };
        let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| bytes.to_vec());
        RecordParked {
            parked_id: parked.id,
            consumer: spec.name.to_owned(),
            topic: topic.to_owned(),
            partition: parked.partition.into(),
            offset: parked.raw.offset,
            code: parked.code.clone(),
            detail: parked.detail.clone(),
            attempts: i32::try_from(parked.attempts).unwrap_or(i32::MAX),
            key: bytes(&parked.raw.key),
            header: bytes(&parked.raw.header),
            value: bytes(&parked.raw.value),
        }
    }
}

/// The id under which a part parks a record: the cause of what it tells of that.
pub(crate) fn parked_id(part: &str, partition: u16, stream: Stream, offset: i64) -> Uuid {
    let stream = match stream {
        Stream::Data => "data",
        Stream::Control => "control",
    };
    let name = format!("{part}/{stream}/{partition}/{offset}");
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}
