//! Misbehavior: what a request asks for, and what the dice give.

use crate::ids::Random;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const MAX_LATENCY_MS: u64 = 60_000;
const DEFAULT_LATENCY_MS: u64 = 2_000;

/// One way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Waits before doing the work; the work is done even if the caller has gone.
    Slow,
    /// Declines the card; a capture is refused, a refund fails.
    Decline,
    /// Answers 500 and does nothing.
    Fail,
    /// Does the work and records the answer, then closes the connection without it.
    DropAnswer,
    /// Does the work, answers 500, and records that 500 under the key.
    FailAfter,
    /// Does the work and forgets the idempotency key at once.
    ForgetKey,
    /// Delivers the webhook before it answers.
    WebhookEarly,
    /// Delivers the webhook twice.
    WebhookTwice,
    /// Holds the webhook back until a later one of the same payment was delivered.
    WebhookOutOfOrder,
    /// Delivers the webhook, then closes the connection without an answer.
    WebhookOnly,
    /// Answers 429 and does nothing.
    RateLimit,
}

const ALL: [Fault; 11] = [
    Fault::Slow,
    Fault::Decline,
    Fault::Fail,
    Fault::DropAnswer,
    Fault::FailAfter,
    Fault::ForgetKey,
    Fault::WebhookEarly,
    Fault::WebhookTwice,
    Fault::WebhookOutOfOrder,
    Fault::WebhookOnly,
    Fault::RateLimit,
];

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::Slow => "slow",
            Fault::Decline => "decline",
            Fault::Fail => "fail",
            Fault::DropAnswer => "drop-answer",
            Fault::FailAfter => "fail-after",
            Fault::ForgetKey => "forget-key",
            Fault::WebhookEarly => "webhook-early",
            Fault::WebhookTwice => "webhook-twice",
            Fault::WebhookOutOfOrder => "webhook-out-of-order",
            Fault::WebhookOnly => "webhook-only",
            Fault::RateLimit => "rate-limit",
        }
    }

    /// Whether the fault means anything to a request that only reads.
    pub fn strikes_reads(self) -> bool {
        matches!(self, Fault::Slow | Fault::Fail | Fault::DropAnswer | Fault::RateLimit)
    }

    fn named(name: &str) -> Option<Fault> {
        ALL.into_iter().find(|fault| fault.name() == name)
    }
}

/// The request that a fault is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Confirm,
    Capture,
    Cancel,
    Refund,
}

impl Operation {
    fn named(name: &str) -> Option<Operation> {
        Some(match name {
            "create" => Operation::Create,
            "confirm" => Operation::Confirm,
            "capture" => Operation::Capture,
            "cancel" => Operation::Cancel,
            "refund" => Operation::Refund,
            _ => return None,
        })
    }
}

/// The faults that strike one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    faults: BTreeSet<Fault>,
    /// For `slow`: how long, if the request says so.
    latency_ms: Option<u64>,
}

impl Plan {
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    pub fn faults(&self) -> impl Iterator<Item = Fault> {
        self.faults.iter().copied()
    }

    pub fn latency_ms(&self, default_ms: u64) -> u64 {
        self.latency_ms.unwrap_or(default_ms)
    }

    pub fn one(fault: Fault) -> Plan {
        Plan { faults: BTreeSet::from([fault]), latency_ms: None }
    }

    /// Keeps only what can strike a request that reads.
    pub fn for_reads(mut self) -> Plan {
        self.faults.retain(|fault| fault.strikes_reads());
        self
    }

    /// Adds the faults of another plan.
    pub fn merge(&mut self, other: Plan) {
        self.faults.extend(other.faults);
        self.latency_ms = other.latency_ms.or(self.latency_ms);
    }
}

/// A list of faults asked for, each `[operation.]fault[:milliseconds]`, separated by commas, spaces or `__`:
/// `drop-answer`, `capture.fail-after`, `slow:500,forget-key`. Without an operation it strikes the request that carries
/// it; with one it is kept with the payment and strikes that later request.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    asked: Vec<(Option<Operation>, Plan)>,
}

/// The list names something that is no fault, no operation, or too long a wait.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownFault;

impl Wish {
    pub fn parse(list: &str) -> Result<Wish, UnknownFault> {
        let words = list.split("__").flat_map(|part| part.split([',', ' '])).filter(|word| !word.is_empty());
        let asked = words.map(parse_word).collect::<Result<_, _>>()?;
        Ok(Wish { asked })
    }

    /// What strikes the request that carries this wish.
    pub fn for_carrier(&self, operation: Option<Operation>) -> Plan {
        self.collect(|meant_for| meant_for.is_none() || meant_for == operation)
    }

    /// What strikes a later request for the payment that carries this wish.
    pub fn for_later(&self, operation: Operation) -> Plan {
        self.collect(|meant_for| meant_for == Some(operation))
    }

    fn collect(&self, chosen: impl Fn(Option<Operation>) -> bool) -> Plan {
        let mut plan = Plan::default();
        for (_, asked) in self.asked.iter().filter(|(meant_for, _)| chosen(*meant_for)) {
            plan.merge(asked.clone());
        }
        plan
    }
}

fn parse_word(word: &str) -> Result<(Option<Operation>, Plan), UnknownFault> {
    let (operation, rest) = match word.split_once('.') {
        Some((operation, rest)) => (Some(Operation::named(operation).ok_or(UnknownFault)?), rest),
        None => (None, word),
    };
    let (name, latency_ms) = match rest.split_once(':') {
        Some((name, digits)) => (name, Some(digits.parse().map_err(|_| UnknownFault)?)),
        None => (rest, None),
    };
    if latency_ms.is_some_and(|latency_ms| latency_ms > MAX_LATENCY_MS) {
        return Err(UnknownFault);
    }
    let fault = Fault::named(name).ok_or(UnknownFault)?;
    Ok((operation, Plan { faults: BTreeSet::from([fault]), latency_ms }))
}

/// Splits `pm_card_visa__drop-answer` into the token and the list of faults.
pub fn split_token(payment_method: &str) -> (&str, &str) {
    payment_method.split_once("__").unwrap_or((payment_method, ""))
}

/// Faults by chance: the share of requests that each strikes, drawn from a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    pub seed: u64,
    /// How long `slow` waits, unless the request says otherwise.
    pub latency_ms: u64,
    /// Shares from 0 to 1, together at most 1: at most one fault by chance strikes a request.
    pub rates: BTreeMap<Fault, f64>,
}

impl Default for Faults {
    fn default() -> Self {
        Faults { seed: 0, latency_ms: DEFAULT_LATENCY_MS, rates: BTreeMap::new() }
    }
}

/// Rates or waits that make no sense.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidFaults(&'static str);

impl fmt::Display for InvalidFaults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl Faults {
    pub fn check(&self) -> Result<(), InvalidFaults> {
        if self.rates.values().any(|rate| !(0.0..=1.0).contains(rate)) || self.rates.values().sum::<f64>() > 1.0 {
            return Err(InvalidFaults("each rate must be from 0 to 1, and their sum at most 1"));
        }
        if self.latency_ms > MAX_LATENCY_MS {
            return Err(InvalidFaults("latency_ms must be at most 60000"));
        }
        Ok(())
    }

    /// Draws at most one fault.
    pub fn draw(&self, random: &mut Random) -> Plan {
        let mut left = random.next_unit();
        for (&fault, &rate) in &self.rates {
            if left < rate {
                return Plan::one(fault);
            }
            left -= rate;
        }
        Plan::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_strikes_its_carrier_or_a_later_request() {
        let wish = Wish::parse("drop-answer__capture.fail-after,capture.slow:500").unwrap();
        assert_eq!(wish.for_carrier(Some(Operation::Create)), Plan::one(Fault::DropAnswer));
        let capture = wish.for_later(Operation::Capture);
        assert!(capture.has(Fault::FailAfter) && capture.has(Fault::Slow));
        assert_eq!(capture.latency_ms(2_000), 500);
        assert!(wish.for_later(Operation::Refund).is_empty());
    }

    #[test]
    fn an_unknown_fault_is_refused() {
        for unknown in ["explode", "later.fail", "slow:soon", "slow:60001"] {
            assert_eq!(Wish::parse(unknown).unwrap_err(), UnknownFault, "{unknown}");
        }
        assert!(Wish::parse("").unwrap().for_carrier(None).is_empty());
    }

    #[test]
    fn every_fault_has_the_name_it_is_written_with() {
        for fault in ALL {
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.name());
            assert_eq!(Fault::named(fault.name()), Some(fault));
        }
    }

    #[test]
    fn a_token_carries_its_faults() {
        assert_eq!(split_token("pm_card_visa__fail__slow"), ("pm_card_visa", "fail__slow"));
        assert_eq!(split_token("pm_card_visa"), ("pm_card_visa", ""));
    }

    #[test]
    fn rates_are_met_and_repeat_with_the_seed() {
        let faults = Faults { rates: BTreeMap::from([(Fault::Fail, 0.25), (Fault::Slow, 0.25)]), ..Faults::default() };
        let count = |seed| {
            let mut random = Random::seeded(seed);
            (0..4_000).filter(|_| faults.draw(&mut random).has(Fault::Fail)).count()
        };
        assert!((900..1_100).contains(&count(1)), "{}", count(1));
        assert_eq!(count(2), count(2));
    }

    #[test]
    fn senseless_rates_are_refused() {
        let with = |fail, slow| Faults {
            rates: BTreeMap::from([(Fault::Fail, fail), (Fault::Slow, slow)]),
            ..Faults::default()
        };
        assert!(with(0.5, 0.5).check().is_ok());
        assert!(with(0.6, 0.5).check().is_err());
        assert!(with(-0.1, 0.5).check().is_err());
        assert!(with(f64::NAN, 0.5).check().is_err());
    }
}
