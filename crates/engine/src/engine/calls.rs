//! Calls to the outside world: when they are made, and what their answers lead to.

use super::*;
use crate::KEY_EXPIRED;
use crate::breaker::{Health, Turn};
use crate::performing::Attempt;

impl Engine {
    /// Makes the calls whose time has come. Who has waited longest goes first, so that room and the turn to probe go round.
    pub(super) fn perform(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let live = self.partitions.values().filter(|partition| partition.is_live());
        let first = live.filter_map(|partition| Some((*partition.memory.schedule.first()?, partition.number)));
        let mut waiting: Vec<_> = first.filter(|((at, _), _)| *at <= now).collect();
        waiting.sort_unstable();
        for (_, number) in waiting {
            self.perform_of(number, now, actions);
        }
    }

    fn perform_of(&mut self, number: u16, now: Timestamp, actions: &mut Vec<Action>) {
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
            open.run = Run::Calling { mode, is_probe: !self.breaker.is_closed() };
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
        match self.breaker.ended((token, intent_id), Health::of(&outcome, provider), now) {
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

#[cfg(test)]
mod tests {
    use daybook_events::StaticSchemas;
    use uuid::Uuid;

    use super::*;
    use crate::{
        Context, EffectPolicy, Fault, Input, Intent, IntentStatus, OnUnknown, Output, PartKind, Provider, Record, Rows,
        SchemaLookup, Spec, Thread,
    };

    /// Its effects have a budget of one attempt.
    struct Caller(Spec);

    impl Leaf for Caller {
        fn spec(&self) -> &Spec {
            &self.0
        }

        fn parts(&self, _: &Input<'_>, _: &mut Vec<Uuid>) {}

        fn handle(&self, _: &Input<'_>, _: &mut Rows<'_>, _: &Context, _: &mut Output) -> Result<(), Fault> {
            Ok(())
        }
    }

    fn caller() -> Caller {
        let effects = EffectPolicy {
            provider: Provider { name: "test", down: &[] },
            detached: false,
            key_lifetime_ms: i64::MAX / 2_000,
            has_lookup: false,
            settle_ms: 0,
            on_unknown: OnUnknown::NeedsAttention,
            attempts_max: 1,
            backoff_min_ms: 100,
            backoff_max_ms: 1_000,
            concurrency: 4,
            call_timeout_ms: 5_000,
        };
        Caller(Spec {
            name: "caller",
            kind: PartKind::Aggregate,
            input: "test.caller.commands.v1",
            control: "test.caller.control.v1".to_owned(),
            outputs: Vec::new(),
            tables: Vec::new(),
            effects: Some(effects),
        })
    }

    fn intent(partition: u16) -> Intent {
        Intent {
            id: Uuid::from_u128(partition.into()),
            partition,
            key: Uuid::from_u128(partition.into()),
            request: Vec::new(),
            reply: None,
            thread: Thread::default(),
            created_at: Timestamp(0),
            status: IntentStatus::Open,
            attempts: 0,
            code: None,
        }
    }

    /// An engine with an effect in each of two partitions, whose provider is known to be down.
    fn cut_off() -> Engine {
        let mut engine = Engine::new(Arc::new(caller()), Arc::new(StaticSchemas), Limits::default());
        for number in [0, 1] {
            let mut partition = Partition { phase: Phase::Live, ..Partition::claiming(number) };
            partition.memory.open(OpenIntent::fresh(intent(number), Timestamp(0)));
            engine.partitions.insert(number, partition);
        }
        while engine.breaker.is_closed() {
            engine.breaker.ended((0, Uuid::nil()), Health::Down, Timestamp(0));
        }
        engine
    }

    #[test]
    fn the_turn_to_probe_goes_round_and_costs_nothing() {
        let mut engine = cut_off();
        let mut probed = Vec::new();
        for _ in 0..6 {
            let now = engine.wake_at().expect("effects wait");
            let mut actions = Vec::new();
            engine.on(Event::Tick, now, &mut actions);
            let [Action::Perform { token, performance }] = &*actions else { panic!("{actions:?}") };
            let (partition, token, intent_id) = (performance.partition, *token, performance.intent_id);
            probed.push(partition);
            let outcome = Performed::Unknown { code: crate::CALL_TIMEOUT.to_owned() };
            let silence = Event::Performed { partition, token, intent_id, outcome };
            engine.on(silence, now.plus_ms(5_000), &mut Vec::new());
        }
        assert_eq!(probed, [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn no_more_data_is_taken_while_many_calls_wait_for_their_turn() {
        let mut engine = cut_off();
        let limits = engine.limits.clone();
        let chosen = |engine: &Engine, ms| {
            choose(engine.partitions.values(), &limits, usize::MAX, &StaticSchemas, Timestamp(0).plus_ms(ms)).len()
        };
        let memory = &mut engine.partitions.get_mut(&0).expect("it is there").memory;
        for offset in 0..2 {
            memory.data.push(Record { offset, ..record() }).expect("it is the next one");
        }
        for id in 1..limits.calls_due_max {
            let waits = Intent { id: Uuid::from_u128(1_000 + id as u128), ..intent(0) };
            memory.open(OpenIntent::fresh(waits, Timestamp(0).plus_ms(10)));
        }
        assert_eq!(chosen(&engine, 9), 2, "they are not due yet");
        assert_eq!(chosen(&engine, 10), 0);
        engine.partitions.get_mut(&0).expect("it is there").memory.close(Uuid::from_u128(1_001));
        assert_eq!(chosen(&engine, 10), 1, "no more than there is room for");
        engine.partitions.get_mut(&0).expect("it is there").memory.close(Uuid::from_u128(1_002));
        assert_eq!(chosen(&engine, 10), 2);
    }

    fn record() -> Record {
        Record {
            stream: Stream::Data,
            partition: 0,
            offset: 0,
            time: Timestamp(0),
            key: None,
            header: None,
            value: None,
            schema: SchemaLookup::Unframed,
        }
    }
}
