//! From what a leaf emits to numbered messages.

use super::*;

impl Folder<'_> {
    /// # Errors
    /// When a message is too large, or of a type that the registry does not know.
    pub(super) fn drafts(&mut self, cause: &Cause, emits: Vec<Emit>) -> Result<Vec<Draft>, Fault> {
        let drafts = emits.into_iter().enumerate().map(|(place, emit)| {
            let value = self.framed(emit.type_name, &emit.body)?;
            let scopes = emit.thread.as_ref().and_then(|thread| thread.actor.as_ref()).map_or(0, |a| a.scopes.len());
            let reply_topic = emit.reply_to.as_ref().map_or(0, |reply_to| reply_to.topic.len());
            if scopes.max(reply_topic) > MAX_TEXT_BYTES {
                return Err(Fault::new("header-too-long"));
            }
            let place = u32::try_from(place).unwrap_or(u32::MAX).to_be_bytes();
            Ok(Draft {
                topic: self.names.get(&emit.topic),
                type_name: self.names.get(emit.type_name),
                key: emit.key,
                value,
                message_id: emit.id.unwrap_or_else(|| Uuid::new_v5(&cause.message_id, &place)),
                reply_to: emit.reply_to,
                reply_for: emit.reply_for,
                thread: emit.thread,
            })
        });
        drafts.collect()
    }

    pub(super) fn framed(&self, type_name: &str, body: &[u8]) -> Result<Bytes, Fault> {
        let id = self.schemas.id_of(type_name).ok_or_else(|| Fault::with("type-unregistered", type_name))?;
        let mut value = Vec::with_capacity(body.len() + 5);
        frame(id, &mut value);
        value.extend_from_slice(body);
        if value.len() > self.limits.message_bytes_max {
            return Err(Fault::with("message-too-large", format!("{} bytes", value.len())));
        }
        Ok(value.into())
    }

    /// Numbers the messages, and keeps the closing reply of a command from outside.
    pub(super) fn publish(&mut self, partition: &Partition, work: &mut Work, cause: &Cause, drafts: Vec<Draft>) {
        for draft in drafts {
            if let (Some(outside), Some(reply_for)) = (cause.outside, draft.reply_for)
                && (outside == reply_for)
            {
                let closing = Some((draft.type_name.to_string(), draft.value[daybook_events::FRAME_BYTES..].to_vec()));
                let known = self.known(outside);
                let request_hash = known.and_then(|applied| applied.request_hash);
                self.applied.insert(outside, Applied { id: outside, request_hash, closing });
            }
            if self.published.is_some_and(|published| published.contains(&draft.message_id)) {
                self.reproduced.push(draft.message_id);
                continue;
            }
            work.out_seq += 1;
            let message = self.number(partition, work, cause, draft);
            work.messages.push(Arc::new(message));
        }
    }

    pub(super) fn number(&self, partition: &Partition, work: &mut Work, cause: &Cause, draft: Draft) -> Outgoing {
        let key = key::of(draft.key);
        let destination = key::partition(&key, u32::from(PARTITIONS));
        let destination = u16::try_from(destination).expect("a partition is below PARTITIONS");
        let seq = work.out_seq;
        let last_numbers = work.last_numbers.get_or_insert_with(|| partition.memory.last_numbers.clone());
        let thread = draft.thread.as_ref().unwrap_or(&cause.thread);
        let header = Header {
            message_id: draft.message_id,
            shard: Some(Shard {
                instance: self.leaf.spec().name.into(),
                partition: partition.number,
                incarnation: work.incarnation,
                seq,
                prev: last_numbers.replace(&draft.topic, destination, seq),
            }),
            correlation_id: thread.correlation_id,
            causation_id: Some(cause.message_id),
            time: self.now,
            actor: thread.actor.clone(),
            tenant: thread.tenant,
            reply_to: draft.reply_to,
            reply_for: draft.reply_for,
            trace: thread.trace,
            request_hash: None,
        };
        let mut bytes = Vec::with_capacity(192);
        header.encode(&mut bytes).expect("the texts of a draft were checked");
        Outgoing {
            seq,
            topic: draft.topic,
            partition: destination,
            key: Bytes::copy_from_slice(&key),
            type_name: draft.type_name,
            message_id: draft.message_id,
            time: self.now,
            header: bytes.into(),
            value: draft.value,
        }
    }
}

pub(super) fn encoded<T: Message>(message: &T) -> Result<Emit, Fault> {
    let mut body = Vec::new();
    encode(message, &mut body).map_err(|error| Fault::with("not-encodable", error.to_string()))?;
    Ok(Emit {
        topic: T::TOPIC.into(),
        key: message.key(),
        type_name: T::FULL_NAME,
        body,
        id: None,
        reply_to: None,
        reply_for: None,
        thread: None,
    })
}
