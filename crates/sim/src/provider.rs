//! The payment provider and the mail server, as their adapters meet them: they act once per key, mostly answer, and
//! send notices when they please.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use daybook_consumer::{Acts, Attempt, Perform};
use daybook_engine::{Intent, Mode, Performance, Performed};
use daybook_events::{
    Header, Message, Money, PaymentId, ProviderNotice, Schemas, StaticSchemas, Timestamp, encode, frame, key,
};
use notifications::Sending;
use payments::{OfPayment, ProviderAnswer, ProviderRequest};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::auditor::Paid;
use crate::book::BookRecord;
use crate::outside::{Answered, Answering, Chance, Outside};

/// The token of a card that is declined.
pub(crate) const DECLINED_CARD: &str = "pm_card_chargeDeclined";
/// The longest that an answer takes that does come, in ms: just below the adapter's time limit.
const SLOWEST_MS: i64 = 19_999;
/// For how long the provider serves nobody, in ms.
const DOWN_MS: (i64, i64) = (5_000, 600_000);
/// How long after it was done something is not found by a lookup, at most, in ms.
const UNSEEN_MS: i64 = 10_000;
/// How much longer the provider keeps a key than the adapter declares, in ms: a request may be on its way for a while.
pub(crate) const KEY_SLACK_MS: i64 = 60_000;

/// Stands in for the adapters of the leaves: in a simulation the world answers, not they.
#[derive(Clone, Copy)]
pub(crate) struct Simulated;

impl<A: Acts> Perform<A> for Simulated {
    async fn perform(&self, _: &A::Request, _: &str) -> Attempt<A::Answer> {
        Attempt::Refused { code: "simulated" }
    }

    async fn look_up(&self, _: &A::Request, _: &str) -> Attempt<A::Answer> {
        Attempt::Unknown { code: "simulated" }
    }
}

#[derive(Clone, Debug)]
struct Charge {
    reference: String,
    stage: Stage,
    refunds: BTreeMap<Uuid, i64>,
    /// Lookups don't find it before.
    seen_from: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Declined,
    Authorized,
    Captured { amount: i64, fee: i64 },
    Voided,
}

/// The provider with its own books, which are the judge of ours.
pub struct Provider {
    charges: BTreeMap<PaymentId, Vec<Charge>>,
    /// What was answered under each key, and when.
    answers: HashMap<String, (ProviderAnswer, Timestamp)>,
    key_lifetime_ms: i64,
    references: u64,
    down: Option<Down>,
}

/// It serves nobody.
struct Down {
    until: Timestamp,
    /// Nothing is said, instead of a refusal at once.
    silent: bool,
}

impl Outside for Provider {
    fn perform(&mut self, part: &str, performance: &Performance, chance: &mut Chance<'_>) -> Answered {
        if part != "payments" {
            return Answered::now(Performed::Answered(sent(performance.intent_id)));
        }
        let Ok(request) = serde_json::from_slice::<ProviderRequest>(&performance.request) else {
            return Answered::now(Performed::Refused { code: "unreadable".to_owned() });
        };
        if let Some(silent) = self.is_down(chance) {
            let refused = Performed::Refused { code: "provider-unreachable".to_owned() };
            let answering = Answering { after_ms: 1, outcome: (!silent).then_some(refused) };
            return Answered { answering, notices: Vec::new() };
        }
        if chance.strikes(chance.faults.provider_refused, "provider refused") {
            return Answered::now(Performed::Refused { code: "rate-limited".to_owned() });
        }
        let answer = match performance.mode {
            Mode::Call => Some(self.call(&request, &performance.idempotency_key, chance)),
            Mode::LookUp => {
                chance.tally.count("looked up");
                self.look_up(&request, chance.now)
            }
        };
        let notices = self.notices(&request, performance.mode, chance);
        let told = answer.map_or(Performed::NotFound, |answer| Performed::Answered(json_of(&answer)));
        let mut answering = Answering { after_ms: chance.rng.between(5, 60), outcome: Some(told) };
        if chance.strikes(chance.faults.provider_answer_lost, "answer lost") {
            answering.outcome = None;
            if !notices.is_empty() {
                chance.tally.count("notice instead of the answer");
            }
        } else if chance.strikes(chance.faults.provider_failed, "provider failed after acting") {
            answering.outcome = Some(Performed::Unknown { code: "provider-500".to_owned() });
        } else if chance.strikes(chance.faults.provider_slow, "provider slow") {
            answering.after_ms = chance.rng.between(1_000, SLOWEST_MS);
        }
        Answered { answering, notices }
    }

    fn became_of(&self, part: &str, intent: &Intent) -> Option<Vec<u8>> {
        if part != "payments" {
            return Some(sent(intent.id));
        }
        let request = serde_json::from_slice(&intent.request).ok()?;
        self.look_up(&request, Timestamp(i64::MAX)).map(|answer| json_of(&answer))
    }

    /// What was really charged, per payment.
    fn books(&self) -> BTreeMap<Uuid, Paid> {
        let of_payment = |charges: &Vec<Charge>| {
            let mut paid = Paid::default();
            for charge in charges {
                if let Stage::Captured { amount, fee } = charge.stage {
                    paid.captured += amount;
                    paid.fee += fee;
                }
                paid.refunded += charge.refunds.values().sum::<i64>();
                paid.holds += u32::from(charge.stage == Stage::Authorized);
            }
            paid
        };
        self.charges.iter().map(|(id, charges)| (id.uuid(), of_payment(charges))).collect()
    }
}

impl Provider {
    /// `key_lifetime_ms`: as its adapter declares it; after that, and some slack, a key is forgotten.
    pub(crate) fn new(key_lifetime_ms: i64) -> Self {
        Self { charges: BTreeMap::new(), answers: HashMap::new(), key_lifetime_ms, references: 0, down: None }
    }

    /// Whether it serves nobody now, and then whether it is silent.
    fn is_down(&mut self, chance: &mut Chance<'_>) -> Option<bool> {
        if chance.strikes(chance.faults.provider_down, "provider down") {
            let until = chance.now.plus_ms(chance.rng.between(DOWN_MS.0, DOWN_MS.1));
            self.down = Some(Down { until, silent: chance.rng.chance(500_000) });
        }
        self.down.as_ref().filter(|down| chance.now < down.until).map(|down| down.silent)
    }

    fn call(&mut self, request: &ProviderRequest, key: &str, chance: &mut Chance<'_>) -> ProviderAnswer {
        if let Some((answer, at)) = self.answers.get(key) {
            if chance.now.ms_since(*at) < self.key_lifetime_ms + KEY_SLACK_MS {
                return answer.clone();
            }
            chance.tally.count("key forgotten");
        }
        let answer = self.act(request, chance.now.plus_ms(chance.rng.between(0, UNSEEN_MS)));
        self.answers.insert(key.to_owned(), (answer.clone(), chance.now));
        answer
    }

    fn act(&mut self, request: &ProviderRequest, seen_from: Timestamp) -> ProviderAnswer {
        match request {
            ProviderRequest::Authorize(ask) => {
                self.references += 1;
                let reference = format!("pi_{}", self.references);
                let declined = ask.payment_token == DECLINED_CARD;
                let stage = if declined { Stage::Declined } else { Stage::Authorized };
                let charge = Charge { reference: reference.clone(), stage, refunds: BTreeMap::new(), seen_from };
                self.charges.entry(ask.payment_id).or_default().push(charge);
                if declined {
                    ProviderAnswer::Declined { code: "card-declined".to_owned(), reference: Some(reference) }
                } else {
                    ProviderAnswer::Authorized { reference }
                }
            }
            ProviderRequest::Capture(of) => {
                let fee = fee_of(of.amount);
                match self.charge(of) {
                    Some(charge) if charge.stage == Stage::Authorized => {
                        charge.seen_from = seen_from;
                        charge.stage = Stage::Captured { amount: of.amount.amount_minor, fee };
                        ProviderAnswer::Captured { amount: of.amount, fee: Money::new(fee, of.amount.currency) }
                    }
                    _ => failed("not-authorized"),
                }
            }
            ProviderRequest::Void(of) => match self.charge(of) {
                Some(charge) if charge.stage == Stage::Authorized => {
                    charge.seen_from = seen_from;
                    charge.stage = Stage::Voided;
                    ProviderAnswer::Voided
                }
                _ => failed("not-authorized"),
            },
            ProviderRequest::Refund { of, refund_id, .. } => {
                let amount = of.amount.amount_minor;
                match self.charge(of) {
                    Some(charge) if charge.is_refundable(amount) => {
                        charge.seen_from = seen_from;
                        charge.refunds.insert(refund_id.uuid(), amount);
                        ProviderAnswer::Refunded
                    }
                    _ => failed("not-refundable"),
                }
            }
        }
    }

    fn charge(&mut self, of: &OfPayment) -> Option<&mut Charge> {
        self.charges.get_mut(&of.payment_id)?.iter_mut().find(|charge| charge.reference == of.reference)
    }

    /// What is seen of it at this time.
    fn look_up(&self, request: &ProviderRequest, at: Timestamp) -> Option<ProviderAnswer> {
        let find = |of: &OfPayment| {
            let of_payment = self.charges.get(&of.payment_id)?;
            of_payment.iter().find(|charge| charge.reference == of.reference && charge.seen_from <= at)
        };
        match request {
            ProviderRequest::Authorize(ask) => {
                let charge = self.charges.get(&ask.payment_id)?.first().filter(|charge| charge.seen_from <= at)?;
                let reference = charge.reference.clone();
                Some(match charge.stage {
                    Stage::Declined => {
                        ProviderAnswer::Declined { code: "card-declined".to_owned(), reference: Some(reference) }
                    }
                    _ => ProviderAnswer::Authorized { reference },
                })
            }
            ProviderRequest::Capture(of) => match find(of)?.stage {
                Stage::Captured { fee, .. } => {
                    Some(ProviderAnswer::Captured { amount: of.amount, fee: Money::new(fee, of.amount.currency) })
                }
                _ => None,
            },
            ProviderRequest::Void(of) => (find(of)?.stage == Stage::Voided).then_some(ProviderAnswer::Voided),
            ProviderRequest::Refund { of, refund_id, .. } => {
                find(of)?.refunds.contains_key(&refund_id.uuid()).then_some(ProviderAnswer::Refunded)
            }
        }
    }

    /// What the provider tells by itself, to the payment's control topic.
    fn notices(&self, request: &ProviderRequest, mode: Mode, chance: &mut Chance<'_>) -> Vec<(i64, BookRecord)> {
        let payment_id = payment_of(request);
        let latest = self.charges.get(&payment_id).and_then(|charges| charges.last());
        let Some((kind, object)) = latest.filter(|_| mode == Mode::Call).and_then(|charge| notice_of(request, charge))
        else {
            return Vec::new();
        };
        if chance.strikes(chance.faults.notice_lost, "notice lost") {
            return Vec::new();
        }
        let early = chance.strikes(chance.faults.notice_early, "notice early");
        let after_ms = if early { 0 } else { chance.rng.between(10, 5_000) };
        let notice_id = format!("evt_{}", chance.rng.next());
        let body = json_of(&json!({"id": notice_id, "type": kind, "data": {"object": object}}));
        let record = notice_record(payment_id, notice_id, body, chance.now, chance.rng.uuid());
        let mut notices = vec![(after_ms, record.clone())];
        if chance.strikes(chance.faults.notice_twice, "notice twice") {
            notices.push((after_ms + chance.rng.between(0, 60_000), record));
        }
        notices
    }
}

impl Charge {
    fn is_refundable(&self, amount: i64) -> bool {
        let refunded: i64 = self.refunds.values().sum();
        matches!(self.stage, Stage::Captured { amount: captured, .. } if refunded + amount <= captured)
    }
}

fn payment_of(request: &ProviderRequest) -> PaymentId {
    match request {
        ProviderRequest::Authorize(ask) => ask.payment_id,
        ProviderRequest::Capture(of) | ProviderRequest::Void(of) | ProviderRequest::Refund { of, .. } => of.payment_id,
    }
}

fn notice_of(request: &ProviderRequest, charge: &Charge) -> Option<(&'static str, serde_json::Value)> {
    let intent = |status: &str| json!({"id": charge.reference, "status": status, "currency": "usd"});
    match (request, &charge.stage) {
        (ProviderRequest::Authorize(_), Stage::Authorized) => {
            Some(("payment_intent.amount_capturable_updated", intent("requires_capture")))
        }
        (ProviderRequest::Void(_), Stage::Voided) => Some(("payment_intent.canceled", intent("canceled"))),
        (ProviderRequest::Refund { .. }, Stage::Captured { .. }) => {
            let refunded: i64 = charge.refunds.values().sum();
            let object = json!({"captured": true, "amount_refunded": refunded, "payment_intent": charge.reference});
            Some(("charge.refunded", object))
        }
        _ => None,
    }
}

fn notice_record(payment_id: PaymentId, notice_id: String, body: Vec<u8>, now: Timestamp, id: Uuid) -> BookRecord {
    let notice = ProviderNotice {
        key_text: payment_id.to_string(),
        provider: "stripe".to_owned(),
        notice_id,
        body,
        received_at: now,
    };
    let mut header = Vec::new();
    Header::first(id, now).encode(&mut header).expect("it has no texts");
    let mut value = Vec::new();
    frame(StaticSchemas.id_of(ProviderNotice::FULL_NAME).expect("a type of this build"), &mut value);
    encode(&notice, &mut value).expect("it fits its schema");
    BookRecord {
        time: now,
        key: Some(Bytes::copy_from_slice(&key::of(payment_id.uuid()))),
        header: Some(header.into()),
        value: Some(value.into()),
    }
}

fn fee_of(amount: Money) -> i64 {
    amount.amount_minor * 29 / 1_000 + 30
}

fn failed(code: &str) -> ProviderAnswer {
    ProviderAnswer::Failed { code: code.to_owned() }
}

/// Every mail goes out.
fn sent(intent_id: Uuid) -> Vec<u8> {
    json_of(&Sending::Sent { message_id: format!("<{intent_id}@daybook>") })
}

fn json_of(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data")
}
