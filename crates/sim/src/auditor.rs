//! Watches every commit as it becomes true, and says which rule was broken, when.

mod sagas;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use daybook_engine::{Commit, Outgoing, PartKind, Spec, unpack};
use daybook_events::{
    CourseEvent, EnrollmentEvent, Family, Header, JournalEvent, PaymentEvent, Schemas, StaticSchemas, Timestamp,
    unframe,
};
use ledger::{Chain, unbalanced};
use uuid::Uuid;

use crate::book::BookRecord;

use sagas::Sagas;

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub at: Timestamp,
    pub rule: &'static str,
    pub detail: String,
}

#[derive(Debug, Default)]
struct Course {
    capacity: Option<i64>,
    /// Enrollments with a held or confirmed seat; true: confirmed.
    seats: BTreeMap<Uuid, bool>,
}

#[derive(Debug, Default)]
struct Enrollment {
    active: bool,
    course_id: Option<Uuid>,
    priced: bool,
    payment_id: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paid {
    pub captured: i64,
    pub refunded: i64,
    pub fee: i64,
    pub disputed: i64,
    /// Authorizations at the provider that were neither captured nor voided.
    pub holds: u32,
}

impl Paid {
    fn is_kept(&self) -> bool {
        self.captured > self.refunded
    }
}

#[derive(Debug, Default)]
struct Journal {
    chain: Chain,
    clearing: i64,
}

/// Where a message stands among those of its key from the same sender.
#[derive(Clone, Debug)]
struct Place {
    topic: String,
    key: Bytes,
    /// Part and partition that numbered it; `None` for commands from outside, which the log orders.
    sender: Option<(Arc<str>, u16)>,
    number: u64,
    reply_for: Option<Uuid>,
}

type Sender = (&'static str, String, Bytes, Option<(Arc<str>, u16)>);

/// Folds what is committed, and judges it.
#[derive(Debug, Default)]
pub struct Auditor {
    violations: Vec<Violation>,
    made: BTreeSet<Uuid>,
    out_seq: BTreeMap<(&'static str, u16), u64>,
    /// Commands that are owed a reply, by id: their topic.
    owed: BTreeMap<Uuid, String>,
    /// How many closing replies each got.
    replies: BTreeMap<Uuid, u32>,
    places: HashMap<Uuid, Place>,
    /// The number of the latest message that each part has applied, per key and sender.
    latest: HashMap<Sender, u64>,
    courses: BTreeMap<Uuid, Course>,
    enrollments: BTreeMap<Uuid, Enrollment>,
    pub payments: BTreeMap<Uuid, Paid>,
    journals: BTreeMap<Uuid, Journal>,
    sagas: Sagas,
}

impl Auditor {
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn blame(&mut self, at: Timestamp, rule: &'static str, detail: String) {
        self.violations.push(Violation { at, rule, detail });
    }

    /// A record reached a topic that a part reads: whoever asked for a reply is owed one.
    pub(crate) fn appended(&mut self, topic: &str, record: &BookRecord, partition: u16, offset: i64, at: Timestamp) {
        let Some(Ok(header)) = record.header.as_deref().map(Header::decode) else { return };
        if header.reply_to.is_some() {
            self.sagas.arrived(header.message_id, topic, partition, offset);
            self.owed.entry(header.message_id).or_insert_with(|| topic.to_owned());
        }
        let number = match &header.shard {
            Some(shard) => shard.seq,
            None => offset.unsigned_abs(),
        };
        if let Some(reply_for) = header.reply_for {
            self.sagas.answered(reply_for, partition, offset, at);
        }
        let reply_for = header.reply_for;
        let sender = header.shard.map(|shard| (shard.instance, shard.partition));
        let place =
            Place { topic: topic.to_owned(), key: record.key.clone().unwrap_or_default(), sender, number, reply_for };
        self.places.entry(header.message_id).or_insert(place);
    }

    /// A part tells with its group offset whether something of a partition of its topic waits for a participant.
    pub(crate) fn told(&mut self, spec: &Spec, partition: u16, waits: bool, at: Timestamp) {
        self.sagas.told(spec.input, partition, waits, at);
    }

    /// A batch became true.
    pub(crate) fn committed(&mut self, spec: &Spec, commit: &Commit, at: Timestamp) {
        let part = spec.name;
        for of_commit in &commit.partitions {
            self.sagas.has_read(spec.input, of_commit.partition, of_commit.next_data);
        }
        for row in &commit.outbox {
            let Ok(messages) = unpack(&row.messages) else {
                self.blame(at, "the outbox can be read", format!("{part} {}", row.partition));
                continue;
            };
            for message in messages {
                self.message(spec, row.partition, &message, at);
            }
        }
        if spec.kind == PartKind::Saga {
            let breaches = commit.history.iter().filter_map(|row| self.sagas.history(part, row, commit));
            for (rule, detail) in breaches.collect::<Vec<_>>() {
                self.blame(at, rule, detail);
            }
        }
    }

    fn message(&mut self, spec: &Spec, partition: u16, message: &Outgoing, at: Timestamp) {
        let part = spec.name;
        let last = self.out_seq.entry((part, partition)).or_default();
        let expected = *last + 1;
        *last = message.seq;
        if message.seq != expected {
            self.blame(
                at,
                "numbers are gapless",
                format!("{part}/{partition}: {} after {}", message.seq, expected - 1),
            );
        }
        let Ok(header) = Header::decode(&message.header) else {
            self.blame(at, "headers can be read", format!("{part} {}", message.type_name));
            return;
        };
        // A repeated command is answered again, with what was answered before.
        let again = header.reply_for.is_some_and(|id| Uuid::new_v5(&id, b"answered-again") == header.message_id);
        if again {
            return;
        }
        if !self.made.insert(message.message_id) {
            let detail = format!("{part}/{partition} made {} twice, of {:?}", message.type_name, header.causation_id);
            self.blame(at, "a message is applied once", detail);
        }
        self.in_order(part, &header, at);
        if spec.kind == PartKind::Saga {
            let cause = header.causation_id.and_then(|cause| self.places.get(&cause));
            let answer_to = cause.and_then(|place| place.reply_for);
            if let Some((rule, detail)) = self.sagas.command(spec, &header, &message.type_name, answer_to) {
                self.blame(at, rule, detail);
            }
        }
        if let Some(reply_for) = header.reply_for {
            let replies = self.replies.entry(reply_for).or_default();
            *replies += 1;
            if *replies > 1 {
                let detail = format!("{part}: another {} for {reply_for}", message.type_name);
                self.blame(at, "a command gets one closing reply", detail);
            }
            return;
        }
        self.event(message, at);
    }

    /// What one sender sends to one key is applied in the order in which it was sent.
    fn in_order(&mut self, part: &'static str, header: &Header, at: Timestamp) {
        let Some(place) = header.causation_id.and_then(|cause| self.places.get(&cause)) else { return };
        let latest =
            self.latest.entry((part, place.topic.clone(), place.key.clone(), place.sender.clone())).or_default();
        let late = place.number < *latest;
        let detail = format!("{part}: {} from {:?} after {latest}", place.number, place.sender);
        *latest = place.number.max(*latest);
        if late {
            self.blame(at, "messages of one key are applied in order", detail);
        }
    }

    fn event(&mut self, message: &Outgoing, at: Timestamp) {
        match &*message.topic {
            CourseEvent::TOPIC => self.read(message, at, Self::course),
            EnrollmentEvent::TOPIC => self.read(message, at, Self::enrollment),
            PaymentEvent::TOPIC => self.read(message, at, Self::payment),
            JournalEvent::TOPIC => self.read(message, at, Self::journal),
            _ => {}
        }
    }

    fn read<F: Family>(&mut self, message: &Outgoing, at: Timestamp, take: fn(&mut Self, F, Timestamp)) {
        let decoded =
            unframe(&message.value).ok().and_then(|(id, body)| F::decode(&*StaticSchemas.writer(id)?, body).ok());
        match decoded {
            Some(event) => take(self, event, at),
            None => self.blame(at, "what is published can be read", message.type_name.to_string()),
        }
    }

    fn course(&mut self, event: CourseEvent, at: Timestamp) {
        let course_id = event.key();
        let course = self.courses.entry(course_id).or_default();
        match event {
            CourseEvent::CoursePublished(published) => course.capacity = published.capacity,
            CourseEvent::CourseRevised(revised) => course.capacity = revised.capacity,
            CourseEvent::SeatReserved(seat) => {
                course.seats.insert(seat.enrollment_id.into(), false);
            }
            CourseEvent::SeatConfirmed(seat) => {
                if course.seats.insert(seat.enrollment_id.into(), true).is_none() {
                    self.blame(at, "a confirmed seat was held", format!("{course_id}"));
                    return;
                }
            }
            CourseEvent::SeatReleased(seat) => {
                course.seats.remove(&Uuid::from(seat.enrollment_id));
            }
            CourseEvent::CourseWithdrawn(_) => {}
        }
        let taken = i64::try_from(course.seats.len()).unwrap_or(i64::MAX);
        if let Some(capacity) = course.capacity
            && taken > capacity
        {
            self.blame(at, "seats taken never exceed the capacity", format!("{course_id}: {taken} of {capacity}"));
        }
    }

    fn enrollment(&mut self, event: EnrollmentEvent, _at: Timestamp) {
        let enrollment = self.enrollments.entry(event.key()).or_default();
        match event {
            EnrollmentEvent::EnrollmentOpened(opened) => enrollment.course_id = Some(opened.course_id.into()),
            EnrollmentEvent::EnrollmentActivated(activated) => {
                enrollment.active = true;
                enrollment.course_id = Some(activated.course_id.into());
                enrollment.priced = activated.price.amount_minor > 0;
                enrollment.payment_id = activated.payment_id.map(Uuid::from);
            }
            EnrollmentEvent::EnrollmentCanceled(_) => enrollment.active = false,
            EnrollmentEvent::EnrollmentCompleted(_) => {}
        }
    }

    fn payment(&mut self, event: PaymentEvent, at: Timestamp) {
        let payment_id = event.key();
        let paid = self.payments.entry(payment_id).or_default();
        match event {
            PaymentEvent::PaymentCaptured(captured) => {
                paid.captured += captured.amount.amount_minor;
                paid.fee += captured.fee.amount_minor;
            }
            PaymentEvent::PaymentRefunded(refunded) => paid.refunded += refunded.amount.amount_minor,
            _ => {}
        }
        if paid.refunded > paid.captured {
            self.blame(at, "never more is refunded than was captured", format!("{payment_id}"));
        }
    }

    fn journal(&mut self, event: JournalEvent, at: Timestamp) {
        let JournalEvent::EntryPosted(entry) = event;
        let journal = self.journals.entry(entry.organization_id.into()).or_default();
        let followed = journal.chain.follow(&entry);
        let clearing = entry.lines.iter().filter(|line| line.account == "asset:provider-clearing");
        journal.clearing += clearing.map(|line| line.amount.amount_minor).sum::<i64>();
        if let Some(currency) = unbalanced(&entry.lines) {
            self.blame(at, "every journal balances", format!("entry {} in {currency}", entry.entry_id));
        }
        if let Err(error) = followed {
            self.blame(at, "the hash chain holds", format!("entry {}: {error}", entry.entry_id));
        }
    }

    /// The rules that hold when everything has come to rest. `provider`: its own books, per payment.
    pub fn at_rest(&mut self, at: Timestamp, provider: &BTreeMap<Uuid, Paid>) {
        self.every_reply_came(at);
        self.active_means_paid_and_seated(at);
        self.seats_belong_to_active(at);
        self.provider_agrees(at, provider);
        self.ledger_agrees(at);
    }

    fn every_reply_came(&mut self, at: Timestamp) {
        let missing = self.owed.iter().filter(|(id, _)| !self.replies.contains_key(*id));
        let missing: Vec<String> = missing.map(|(id, topic)| format!("{id} in {topic}")).collect();
        for command in missing {
            self.blame(at, "every command that asked gets a reply", command);
        }
    }

    fn active_means_paid_and_seated(&mut self, at: Timestamp) {
        let mut blames = Vec::new();
        let mut covered = BTreeSet::new();
        for (id, enrollment) in self.enrollments.iter().filter(|(_, enrollment)| enrollment.active) {
            let course = enrollment.course_id.and_then(|course_id| self.courses.get(&course_id));
            let limited = course.is_some_and(|course| course.capacity.is_some());
            let confirmed = course.and_then(|course| course.seats.get(id)) == Some(&true);
            if limited && !confirmed {
                blames.push(("an active enrollment has a confirmed seat", id.to_string()));
            }
            let paid = enrollment.payment_id.and_then(|payment_id| self.payments.get(&payment_id));
            if enrollment.priced && !paid.is_some_and(Paid::is_kept) {
                blames.push(("an active enrollment on a priced course is paid", id.to_string()));
            }
            covered.extend(enrollment.payment_id);
        }
        for (id, _) in self.payments.iter().filter(|(id, paid)| paid.is_kept() && !covered.contains(*id)) {
            blames.push(("a captured payment has an active enrollment, or a refund", id.to_string()));
        }
        for (rule, detail) in blames {
            self.blame(at, rule, detail);
        }
    }

    fn seats_belong_to_active(&mut self, at: Timestamp) {
        let seats = self.courses.values().flat_map(|course| course.seats.keys());
        let idle = seats.filter(|id| !self.enrollments.get(*id).is_some_and(|enrollment| enrollment.active));
        let idle: Vec<Uuid> = idle.copied().collect();
        for id in idle {
            self.blame(at, "a seat belongs to an active enrollment", id.to_string());
        }
    }

    fn provider_agrees(&mut self, at: Timestamp, provider: &BTreeMap<Uuid, Paid>) {
        let ids: BTreeSet<Uuid> = self.payments.keys().chain(provider.keys()).copied().collect();
        for id in ids {
            let ours = self.payments.get(&id).copied().unwrap_or_default();
            let theirs = provider.get(&id).copied().unwrap_or_default();
            let same = (ours.captured, ours.refunded) == (theirs.captured, theirs.refunded);
            if !same {
                self.blame(at, "payments agree with the provider's books", format!("{id}: {ours:?}, there {theirs:?}"));
            }
            if theirs.holds > 0 {
                self.blame(at, "nobody's card stays charged with a hold", format!("{id}: {theirs:?}"));
            }
        }
    }

    fn ledger_agrees(&mut self, at: Timestamp) {
        let of_payments: i64 = self.payments.values().map(|p| p.captured - p.refunded - p.fee - p.disputed).sum();
        let of_ledger: i64 = self.journals.values().map(|journal| journal.clearing).sum();
        if of_payments != of_ledger {
            let detail = format!("payments {of_payments}, ledger {of_ledger}");
            self.blame(at, "the clearing account equals the payments", detail);
        }
    }

    /// Enrollments that are active, for the report.
    pub fn active(&self) -> usize {
        self.enrollments.values().filter(|enrollment| enrollment.active).count()
    }

    pub fn replies(&self) -> usize {
        self.replies.len()
    }
}
