//! What operators ask of the engine itself.

use super::*;

impl<'a> Folder<'a> {
    pub(super) fn verb(&mut self, partition: &Partition, work: &mut Work, understood: &Understood, verb: &Verb) {
        let Some(header) = &understood.header else { return };
        if self.known(header.message_id).is_some() && header.shard.is_none() {
            self.counters.duplicates += 1;
            return;
        }
        let id = header.message_id;
        self.applied.insert(id, Applied { id, request_hash: header.request_hash, closing: None });
        let cause = Cause { message_id: id, thread: thread_of(header), outside: None };
        let outcome = match verb {
            Verb::Redrive(redrive) => self.redrive(partition, work, redrive),
            Verb::Discard(discard) => self.discard(partition, work, discard, &cause),
            Verb::Resolve(resolve) => self.resolve(partition, work, resolve),
        };
        let acted = verb.acted(self.leaf.spec().name, outcome);
        match encoded(&acted).and_then(|emit| self.drafts(&cause, vec![emit])) {
            Ok(drafts) => self.publish(partition, work, &cause, drafts),
            Err(fault) => self.park_record(partition, work, understood, None, fault, false),
        }
    }

    pub(super) fn redrive(&mut self, partition: &Partition, work: &mut Work, redrive: &RedriveParked) -> &'static str {
        let Some((parked, understood)) = self.parked(partition, redrive.parked_id) else {
            return "no-such-record";
        };
        let before = self.counters.parked;
        self.deliver(partition, work, understood, Origin::Parked(parked));
        if self.counters.parked > before { "parked-again" } else { "done" }
    }

    pub(super) fn parked(&self, partition: &Partition, id: Uuid) -> Option<(&'a Parked, &'a Understood)> {
        let batch = self.batch;
        let gone = self.commit.parked_gone.contains(&id);
        let parked = batch.parked.get(&id)?.as_ref().filter(|parked| parked.partition == partition.number && !gone)?;
        Some((parked, batch.redriven.get(&id)?))
    }

    /// Whoever waits for the record's reply is told that it will not come.
    pub(super) fn discard(
        &mut self,
        partition: &Partition,
        work: &mut Work,
        discard: &DiscardParked,
        cause: &Cause,
    ) -> &'static str {
        let Some((parked, understood)) = self.parked(partition, discard.parked_id) else {
            return "no-such-record";
        };
        // Commands are addressed to aggregates and sagas; whoever only listens owes nobody an answer.
        let is_addressed = matches!(self.leaf.spec().kind, PartKind::Aggregate | PartKind::Saga);
        if is_addressed
            && let Some(header) = &understood.header
            && let Some(reply_to) = &header.reply_to
        {
            let key = parked.raw.key.as_deref().unwrap_or_default();
            let discarded = Discarded {
                key_text: key::to_text(key).into_owned(),
                command: understood.type_name().to_owned(),
                reason: "parked-discarded".to_owned(),
            };
            let of_command = Cause {
                message_id: Uuid::new_v5(&header.message_id, cause.message_id.as_bytes()),
                thread: thread_of(header),
                outside: understood.outside_id(),
            };
            let id = header.message_id;
            let request_hash = header.request_hash;
            if understood.outside_id().is_some() {
                self.applied.insert(id, Applied { id, request_hash, closing: None });
            }
            let emit = encoded(&discarded).map(|emit| Emit {
                topic: reply_to.topic.to_string().into(),
                key: reply_to.key,
                reply_for: Some(id),
                ..emit
            });
            match emit.and_then(|emit| self.drafts(&of_command, vec![emit])) {
                Ok(drafts) => self.publish(partition, work, &of_command, drafts),
                Err(fault) => return fault.code,
            }
        }
        self.commit.parked_gone.push(parked.id);
        self.unpark(partition, work, parked);
        "done"
    }

    pub(super) fn resolve(&mut self, partition: &Partition, work: &mut Work, resolve: &ResolveEffect) -> &'static str {
        let open = partition.memory.intents.get(&resolve.intent_id);
        let Some(open) = open.filter(|open| !work.intents_gone.contains(&open.intent.id)) else {
            return "no-such-effect";
        };
        let conclusion = match (resolve.happened, &resolve.outcome) {
            (true, Some(outcome)) => Conclusion::Answered(outcome.to_vec()),
            (true, None) => return "outcome-missing",
            (false, _) => Conclusion::GaveUp { code: "operator-says-not".to_owned() },
        };
        match self.conclude(partition, work, &open.intent, &conclusion) {
            Ok(()) => "done",
            Err(_) => "outcome-unreadable",
        }
    }
}

impl Verb {
    pub(super) fn acted(&self, consumer: &str, outcome: &str) -> OperatorActed {
        let (key_text, action, target, actor_id, reason) = match self {
            Self::Redrive(verb) => (&verb.key_text, RedriveParked::NAME, verb.parked_id, verb.actor_id, &verb.reason),
            Self::Discard(verb) => (&verb.key_text, DiscardParked::NAME, verb.parked_id, verb.actor_id, &verb.reason),
            Self::Resolve(verb) => (&verb.key_text, ResolveEffect::NAME, verb.intent_id, verb.actor_id, &verb.reason),
        };
        OperatorActed {
            key_text: key_text.clone(),
            consumer: consumer.to_owned(),
            action: action.to_owned(),
            target: target.to_string(),
            actor_id,
            reason: reason.clone(),
            outcome: outcome.to_owned(),
        }
    }
}
