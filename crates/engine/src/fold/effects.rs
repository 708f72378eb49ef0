//! How intents end.

use super::*;

impl Folder<'_> {
    /// Whether open effects leave their keys free.
    pub(super) fn is_detached(&self) -> bool {
        self.leaf.spec().effects.as_ref().is_some_and(|policy| policy.detached)
    }

    pub(super) fn intent_gone(&mut self, partition: &Partition, work: &mut Work, entity: Uuid, intent_id: Uuid) {
        work.intents_gone.push(intent_id);
        self.commit.intents_gone.push(intent_id);
        work.change_blocked(partition, &raw_key_of(entity), |blocked| {
            blocked.busy = blocked.busy.filter(|id| *id != intent_id);
        });
    }

    pub(super) fn answer(&mut self, partition: &Partition, work: &mut Work, answer: &Answer) {
        let Some(open) = partition.memory.intents.get(&answer.intent_id) else {
            return;
        };
        if work.intents_gone.contains(&answer.intent_id) {
            return;
        }
        let poison = self.batch.poison.as_ref().map(|code| format!("not-storable-{code}"));
        let failed = match (&answer.what, poison) {
            (_, Some(code)) => Some(code),
            (Told::Attention { code }, None) => Some(code.clone()),
            (Told::Conclusion(conclusion), None) => self.conclude(partition, work, &open.intent, conclusion).err(),
        };
        if let Some(code) = failed {
            self.needs_attention(work, &open.intent, code);
        }
    }

    pub(super) fn needs_attention(&mut self, work: &mut Work, intent: &Intent, code: String) {
        self.alarms.push(Alarm::NeedsAttention { partition: work.number, code: code.clone() });
        let intent = Intent { status: IntentStatus::NeedsAttention, code: Some(code), ..intent.clone() };
        self.commit.intents_put.push(intent.clone());
        work.intents_attention.push(intent);
    }

    /// # Errors
    /// The code under which a person has to look at it: its outcome is known but cannot be recorded.
    pub(super) fn conclude(
        &mut self,
        partition: &Partition,
        work: &mut Work,
        intent: &Intent,
        conclusion: &Conclusion,
    ) -> Result<(), String> {
        let reply_for = intent.reply.as_ref().map_or(intent.id, |reply| reply.command_id);
        let cause = Cause {
            message_id: Uuid::new_v5(&intent.id, b"concluded"),
            thread: intent.thread.clone(),
            outside: self.known(reply_for).map(|applied| applied.id),
        };
        let input = Input::Concluded { intent, conclusion };
        self.intent_gone(partition, work, intent.key, intent.id);
        match self.handle(partition, work, &input, &cause) {
            Ok(_) => {
                self.counters.concluded += 1;
                Ok(())
            }
            Err(fault) => {
                work.intents_gone.retain(|id| *id != intent.id);
                self.commit.intents_gone.retain(|id| *id != intent.id);
                if !self.is_detached() {
                    work.change_blocked(partition, &raw_key_of(intent.key), |blocked| blocked.busy = Some(intent.id));
                }
                Err(fault.code.to_owned())
            }
        }
    }
}
