//! What to do with an open intent, given what is known of its calls. Pure; the engine keeps the times.

use daybook_events::Timestamp;

use crate::breaker::Health;
use crate::{EffectPolicy, Intent, Mode, OnUnknown, Performed};

/// An open intent in memory.
#[derive(Clone, Debug)]
pub(crate) struct OpenIntent {
    pub(crate) intent: Intent,
    pub(crate) run: Run,
    /// Attempts of the present mode in this process, as far as they count for the budget.
    attempts: u32,
    /// A call may have acted: its answer was lost, or it was made by somebody before us.
    maybe_acted: bool,
    /// The latest moment at which a call can have been under way.
    last_call: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    Waiting {
        at: Timestamp,
        mode: Mode,
    },
    Calling {
        mode: Mode,
        /// It was made while the provider was known to be down.
        is_probe: bool,
    },
    /// Concluded, but not yet committed.
    Concluding,
    Attention,
}

/// How an attempt is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Now {
        mode: Mode,
        /// Of a repeated call: the provider may not honor its key any more from then on.
        key_until: Option<Timestamp>,
    },
    /// Its key has expired, and nothing else helps: only a person can tell how it goes on.
    TooLate,
    /// It was not waiting.
    NotWaiting,
}

/// What an attempt led to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// Another attempt is planned.
    Wait,
    Answered(Vec<u8>),
    GaveUp {
        code: String,
    },
    Attention {
        code: String,
    },
}

impl OpenIntent {
    /// An intent that was just committed here: surely not called yet.
    pub(crate) fn fresh(intent: Intent, now: Timestamp) -> Self {
        let run = Run::Waiting { at: now, mode: Mode::Call };
        Self { last_call: intent.created_at, intent, run, attempts: 0, maybe_acted: false }
    }

    /// An intent found without an outcome: its call may have been made, also a moment ago by a process
    /// that does not know yet that it lost the partition.
    pub(crate) fn found(intent: Intent, policy: &EffectPolicy, now: Timestamp) -> Self {
        let call_timeout_ms = i64::try_from(policy.call_timeout_ms).unwrap_or(i64::MAX);
        let mut found = Self {
            run: Run::Attention,
            attempts: 0,
            maybe_acted: true,
            last_call: now.plus_ms(call_timeout_ms),
            intent,
        };
        if found.intent.status == crate::IntentStatus::Open {
            found.run = found.plan(policy, now, 0).unwrap_or(Run::Attention);
        }
        found
    }

    /// Where an intent that may have acted goes next; `None`: only a person can tell.
    fn plan(&self, policy: &EffectPolicy, now: Timestamp, wait_ms: i64) -> Option<Run> {
        self.mode(policy, now).map(|mode| Run::Waiting { at: now.plus_ms(wait_ms), mode })
    }

    fn mode(&self, policy: &EffectPolicy, now: Timestamp) -> Option<Mode> {
        if !self.maybe_acted || now < self.key_until(policy) {
            return Some(Mode::Call);
        }
        if policy.has_lookup {
            return Some(Mode::LookUp);
        }
        (policy.on_unknown == OnUnknown::AtLeastOnce).then_some(Mode::Call)
    }

    /// No call can have been made before the intent was stored, so the key lives at least until then.
    fn key_until(&self, policy: &EffectPolicy) -> Timestamp {
        self.intent.created_at.plus_ms(policy.key_lifetime_ms)
    }

    /// How the attempt whose time has come is to be made. Whether a call may be repeated is judged again: it was planned a while
    /// ago, and has waited for its time, for room, or for a provider that was down.
    pub(crate) fn attempt(&self, policy: &EffectPolicy, now: Timestamp) -> Attempt {
        let mode = match self.run {
            Run::Waiting { mode: Mode::Call, .. } => self.mode(policy, now),
            Run::Waiting { mode: Mode::LookUp, .. } => Some(Mode::LookUp),
            Run::Calling { .. } | Run::Concluding | Run::Attention => return Attempt::NotWaiting,
        };
        let Some(mode) = mode else { return Attempt::TooLate };
        // Past its lifetime, or without any, the key is not what a repetition relies on.
        let relies_on_key = mode == Mode::Call && self.maybe_acted && now < self.key_until(policy);
        Attempt::Now { mode, key_until: relies_on_key.then(|| self.key_until(policy)) }
    }

    pub(crate) fn performed(&mut self, outcome: Performed, policy: &EffectPolicy, now: Timestamp, jitter: u64) -> Next {
        let Run::Calling { mode, is_probe } = self.run else {
            return Next::Wait;
        };
        if mode == Mode::Call {
            self.last_call = now;
        }
        self.intent.attempts += 1;
        // A probe that finds the provider down tells of the provider alone. Any other end counts, or an effect that always
        // fails would keep the breaker open.
        if !is_probe || Health::of(&outcome, policy.provider) != Health::Down {
            self.attempts += 1;
        }
        let spent = self.attempts >= policy.attempts_max;
        match (outcome, mode) {
            (Performed::Answered(answer), _) => {
                self.run = Run::Concluding;
                Next::Answered(answer)
            }
            (Performed::NotFound, _) => self.not_found(policy, now),
            (Performed::Refused { code }, Mode::Call) if spent && !self.maybe_acted => {
                self.run = Run::Concluding;
                Next::GaveUp { code }
            }
            (Performed::Refused { code } | Performed::Unknown { code }, Mode::LookUp) if spent => self.attention(code),
            (Performed::Refused { code }, Mode::Call) if spent => self.look_up_or_attention(policy, now, code),
            (Performed::Unknown { code }, Mode::Call) => {
                self.maybe_acted = true;
                if spent {
                    return self.look_up_or_attention(policy, now, code);
                }
                self.wait(policy, now, jitter, code)
            }
            (Performed::Refused { code } | Performed::Unknown { code }, _) => self.wait(policy, now, jitter, code),
        }
    }

    fn wait(&mut self, policy: &EffectPolicy, now: Timestamp, jitter: u64, code: String) -> Next {
        let wait_ms = backoff_ms(policy, self.attempts, jitter);
        let planned = match self.run {
            // Once it has come to looking up, calling again would only add to what is unknown.
            Run::Calling { mode: Mode::LookUp, .. } => {
                Some(Run::Waiting { at: now.plus_ms(wait_ms), mode: Mode::LookUp })
            }
            _ => self.plan(policy, now, wait_ms),
        };
        match planned {
            Some(run) => {
                self.run = run;
                Next::Wait
            }
            None => self.attention(code),
        }
    }

    /// "Not found" proves that nothing was done only when the provider has had time to show it.
    fn not_found(&mut self, policy: &EffectPolicy, now: Timestamp) -> Next {
        let settled_at = self.last_call.plus_ms(policy.settle_ms);
        if now < settled_at {
            self.run = Run::Waiting { at: settled_at, mode: Mode::LookUp };
            return Next::Wait;
        }
        self.maybe_acted = false;
        self.attempts = 0;
        self.run = Run::Waiting { at: now, mode: Mode::Call };
        Next::Wait
    }

    fn look_up_or_attention(&mut self, policy: &EffectPolicy, now: Timestamp, code: String) -> Next {
        if !policy.has_lookup {
            return self.attention(code);
        }
        self.attempts = 0;
        self.run = Run::Waiting { at: now.plus_ms(policy.backoff_max_ms), mode: Mode::LookUp };
        Next::Wait
    }

    fn attention(&mut self, code: String) -> Next {
        self.run = Run::Concluding;
        Next::Attention { code }
    }
}

/// Exponential, with up to half of it taken off by `jitter`.
fn backoff_ms(policy: &EffectPolicy, attempts: u32, jitter: u64) -> i64 {
    let doubled = policy.backoff_min_ms.saturating_mul(1_i64 << attempts.saturating_sub(1).min(30));
    let longest = doubled.clamp(policy.backoff_min_ms, policy.backoff_max_ms.max(policy.backoff_min_ms));
    let off = i64::try_from(jitter % 512).unwrap_or(0);
    longest - longest / 2 * off / 512
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{IntentStatus, Provider, Thread};

    const MINUTE: i64 = 60_000;

    fn policy() -> EffectPolicy {
        EffectPolicy {
            provider: Provider { name: "test", down: &["connection-refused"] },
            detached: false,
            key_lifetime_ms: 24 * 60 * MINUTE,
            has_lookup: true,
            settle_ms: MINUTE,
            on_unknown: OnUnknown::NeedsAttention,
            attempts_max: 3,
            backoff_min_ms: 100,
            backoff_max_ms: 1_000,
            concurrency: 4,
            call_timeout_ms: 5_000,
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn intent() -> Intent {
        Intent {
            id: Uuid::from_u128(1),
            partition: 0,
            key: Uuid::from_u128(2),
            request: vec![],
            reply: None,
            thread: Thread::default(),
            created_at: at(0),
            status: IntentStatus::Open,
            attempts: 0,
            code: None,
        }
    }

    fn call(open: &mut OpenIntent, outcome: Performed, now: Timestamp) -> Next {
        attempt(open, false, outcome, now)
    }

    fn probe(open: &mut OpenIntent, outcome: Performed, now: Timestamp) -> Next {
        attempt(open, true, outcome, now)
    }

    fn attempt(open: &mut OpenIntent, is_probe: bool, outcome: Performed, now: Timestamp) -> Next {
        let Attempt::Now { mode, .. } = open.attempt(&policy(), now) else { panic!("not waiting: {:?}", open.run) };
        open.run = Run::Calling { mode, is_probe };
        open.performed(outcome, &policy(), now, 0)
    }

    fn refused() -> Performed {
        Performed::Refused { code: "connection-refused".into() }
    }

    fn unknown() -> Performed {
        Performed::Unknown { code: "timeout".into() }
    }

    #[test]
    fn what_surely_never_acted_is_given_up_when_the_budget_is_spent() {
        let mut open = OpenIntent::fresh(intent(), at(0));
        assert_eq!(call(&mut open, refused(), at(1)), Next::Wait);
        assert_eq!(call(&mut open, refused(), at(2)), Next::Wait);
        assert_eq!(call(&mut open, refused(), at(3)), Next::GaveUp { code: "connection-refused".into() });
    }

    #[test]
    fn an_unknown_call_is_repeated_with_its_key_while_the_key_lives_then_looked_up() {
        let mut open = OpenIntent::fresh(intent(), at(0));
        assert_eq!(call(&mut open, unknown(), at(1)), Next::Wait);
        assert!(matches!(open.run, Run::Waiting { mode: Mode::Call, .. }));
        let late = OpenIntent::found(intent(), &policy(), at(25 * 60 * MINUTE));
        assert!(matches!(late.run, Run::Waiting { mode: Mode::LookUp, .. }));
    }

    #[test]
    fn a_repetition_that_comes_too_late_for_its_key_is_a_lookup() {
        let lifetime = policy().key_lifetime_ms;
        let open = OpenIntent::found(intent(), &policy(), at(1));
        assert!(matches!(open.run, Run::Waiting { mode: Mode::Call, .. }));
        let in_time = Attempt::Now { mode: Mode::Call, key_until: Some(at(lifetime)) };
        assert_eq!(open.attempt(&policy(), at(lifetime - 1)), in_time);
        let looked_up = Attempt::Now { mode: Mode::LookUp, key_until: None };
        assert_eq!(open.attempt(&policy(), at(lifetime)), looked_up);
        let blind = EffectPolicy { has_lookup: false, ..policy() };
        assert_eq!(open.attempt(&blind, at(lifetime)), Attempt::TooLate);
        let first = OpenIntent::fresh(intent(), at(0));
        let called = Attempt::Now { mode: Mode::Call, key_until: None };
        assert_eq!(first.attempt(&policy(), at(2 * lifetime)), called, "nobody was called before");
    }

    #[test]
    fn not_found_proves_nothing_before_the_provider_has_settled() {
        let now = 25 * 60 * MINUTE;
        let mut open = OpenIntent::found(intent(), &policy(), at(now));
        assert_eq!(call(&mut open, Performed::NotFound, at(now + 10)), Next::Wait);
        assert_eq!(open.run, Run::Waiting { at: at(now + 5_000 + MINUTE), mode: Mode::LookUp });
        assert_eq!(call(&mut open, Performed::NotFound, at(now + 5_000 + MINUTE)), Next::Wait);
        assert!(matches!(open.run, Run::Waiting { mode: Mode::Call, .. }), "now it is known not to have acted");
    }

    #[test]
    fn without_key_or_lookup_a_person_decides() {
        let helpless = EffectPolicy { key_lifetime_ms: 0, has_lookup: false, ..policy() };
        let open = OpenIntent::found(intent(), &helpless, at(1));
        assert_eq!(open.run, Run::Attention);
        let careless = EffectPolicy { on_unknown: OnUnknown::AtLeastOnce, ..helpless };
        let open = OpenIntent::found(intent(), &careless, at(1));
        assert!(matches!(open.run, Run::Waiting { mode: Mode::Call, .. }));
    }

    #[test]
    fn a_budget_spent_on_unknown_calls_ends_in_lookups_then_in_attention() {
        let mut open = OpenIntent::fresh(intent(), at(0));
        for ms in 1..=3 {
            assert_eq!(call(&mut open, unknown(), at(ms)), Next::Wait);
        }
        assert!(matches!(open.run, Run::Waiting { mode: Mode::LookUp, .. }));
        assert_eq!(call(&mut open, unknown(), at(4)), Next::Wait);
        assert_eq!(call(&mut open, refused(), at(5)), Next::Wait);
        assert_eq!(call(&mut open, refused(), at(6)), Next::Attention { code: "connection-refused".into() });
    }

    #[test]
    fn a_probe_that_finds_the_provider_down_spends_nothing() {
        let mut open = OpenIntent::fresh(intent(), at(0));
        for ms in 1..=100 {
            assert_eq!(probe(&mut open, refused(), at(ms)), Next::Wait);
        }
        for ms in 101..=103 {
            assert_eq!(probe(&mut open, unknown(), at(ms)), Next::Wait, "it may be this effect's own fault");
        }
        assert!(matches!(open.run, Run::Waiting { mode: Mode::LookUp, .. }), "{:?}", open.run);
        for ms in 104..=200 {
            assert_eq!(probe(&mut open, refused(), at(ms)), Next::Wait);
        }
        assert_eq!(open.intent.attempts, 200);
    }

    #[test]
    fn a_probe_is_not_repeated_past_its_keys_lifetime() {
        let lifetime = policy().key_lifetime_ms;
        let timed_out = || Performed::Unknown { code: crate::CALL_TIMEOUT.into() };
        let mut open = OpenIntent::fresh(intent(), at(0));
        for round in 0..100 {
            assert_eq!(probe(&mut open, timed_out(), at(round * (lifetime / 100))), Next::Wait);
        }
        assert!(matches!(open.attempt(&policy(), at(lifetime - 1)), Attempt::Now { mode: Mode::Call, .. }));
        assert_eq!(open.attempt(&policy(), at(lifetime)), Attempt::Now { mode: Mode::LookUp, key_until: None });
    }

    #[test]
    fn backoff_grows_to_its_bound() {
        assert_eq!(backoff_ms(&policy(), 1, 0), 100);
        assert_eq!(backoff_ms(&policy(), 3, 0), 400);
        assert_eq!(backoff_ms(&policy(), 60, 0), 1_000);
        assert!(backoff_ms(&policy(), 60, 511) >= 500);
    }
}
