//! Calls to the outside world: when they are made, and what their answers lead to.

use super::*;
use crate::breaker::{Health, Turn};
use crate::performing::Attempt;
use crate::{CALL_TIMEOUT, KEY_EXPIRED, Provider};

impl Engine {
    pub(super) fn perform(&mut self, number: u16, now: Timestamp, actions: &mut Vec<Action>) {
        let spec = self.leaf.spec();
        let Some(policy) = &spec.effects else { return };
        let Some(partition) = self.partitions.get_mut(&number) else {
            return;
        };
        let token = partition.token;
        let memory = &mut partition.memory;
        while self.calling < policy.concurrency
            && let Some(&(at, id)) = memory.schedule.first()
            && at <= now
        {
            memory.schedule.pop_first();
            let Some(open) = memory.intents.get_mut(&id) else {
                continue;
            };
            let (mode, key_until) = match open.attempt(policy, now) {
                Attempt::Now { mode, key_until } => (mode, key_until),
                Attempt::TooLate => {
                    open.run = Run::Concluding;
                    let what = Told::Attention { code: KEY_EXPIRED.to_owned() };
                    memory.answers.push_back(Answer { intent_id: id, what });
                    continue;
                }
                Attempt::NotWaiting => continue,
            };
            if !self.breaker.admits((token, id), now) && !memory.left_out.has(Mutation::BreakerIgnored) {
                memory.schedule.insert((at, id));
                return;
            }
            open.run = Run::Calling { mode };
            self.calling += 1;
            let of_call = if memory.left_out.has(Mutation::KeyPerCall) { format!(":{now:?}") } else { String::new() };
            let performance = Performance {
                intent_id: id,
                partition: number,
                idempotency_key: format!("{}:{}:{id}{of_call}", spec.name, open.intent.key),
                entity: open.intent.key,
                request: open.intent.request.clone(),
                mode,
                key_until,
                trace: open.intent.thread.trace,
            };
            actions.push(Action::Perform { token, performance });
        }
    }

    pub(super) fn performed(
        &mut self,
        number: u16,
        token: u64,
        intent_id: uuid::Uuid,
        outcome: Performed,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        self.calling = self.calling.saturating_sub(1);
        let Some(policy) = self.leaf.spec().effects.clone() else {
            return;
        };
        let provider = policy.provider;
        match self.breaker.ended((token, intent_id), health(&outcome, provider), now) {
            Some(Turn::Opened) => actions.push(Action::Alarm(Alarm::ProviderDown { provider: provider.name })),
            Some(Turn::Closed) => actions.push(Action::Alarm(Alarm::ProviderUp { provider: provider.name })),
            None => {}
        }
        let Some(partition) = self.partitions.get_mut(&number).filter(|partition| partition.token == token) else {
            return;
        };
        let memory = &mut partition.memory;
        let Some(open) = memory.intents.get_mut(&intent_id) else {
            self.counters.effects_late += 1;
            return;
        };
        let jitter = intent_id.as_u64_pair().1.wrapping_add(u64::from(open.intent.attempts).wrapping_mul(0x9e37_79b9));
        let what = match open.performed(outcome, &policy, now, jitter) {
            Next::Wait => {
                self.counters.effects_retried += 1;
                if let Run::Waiting { at, .. } = open.run {
                    memory.schedule.insert((at, intent_id));
                }
                return;
            }
            Next::Answered(answer) => Told::Conclusion(Conclusion::Answered(answer)),
            Next::GaveUp { code } => Told::Conclusion(Conclusion::GaveUp { code }),
            Next::Attention { code } => Told::Attention { code },
        };
        memory.answers.push_back(Answer { intent_id, what });
    }
}

/// What an attempt's end says about the provider.
fn health(outcome: &Performed, provider: Provider) -> Health {
    match outcome {
        Performed::Answered(_) | Performed::NotFound => Health::Up,
        Performed::Refused { code } | Performed::Unknown { code } => {
            let is_down = code == CALL_TIMEOUT || provider.down.contains(&code.as_str());
            if is_down { Health::Down } else { Health::Unknown }
        }
    }
}
