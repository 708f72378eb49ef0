//! What the provider knows: intents, charges, refunds, disputes, and every movement of its balance.
//!
//! Pure state: `apply` folds a fact into it, in the order of the log. Deciding which facts follow from a request is in
//! `decide`.

use crate::cards::Decline;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

pub type Metadata = BTreeMap<String, String>;

/// Something that happened, as the log keeps it. Amounts are minor units, times Unix seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    IntentCreated(Intent),
    Authorized { intent: String, charge: String, payment_method: String },
    Declined { intent: String, charge: String, payment_method: String, decline: Decline },
    Captured { intent: String, amount: u64, fee: u64, transaction: String },
    Canceled { intent: String, reason: Option<String> },
    Refunded(Refund),
    DisputeOpened(Dispute),
    DisputeClosed { dispute: String, won: bool, transaction: Option<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentStatus {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresCapture,
    Succeeded,
    Canceled,
}

impl IntentStatus {
    /// Stripe's word for it.
    pub fn name(self) -> &'static str {
        match self {
            IntentStatus::RequiresPaymentMethod => "requires_payment_method",
            IntentStatus::RequiresConfirmation => "requires_confirmation",
            IntentStatus::RequiresCapture => "requires_capture",
            IntentStatus::Succeeded => "succeeded",
            IntentStatus::Canceled => "canceled",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Intent {
    pub id: String,
    pub created_s: u64,
    pub amount: u64,
    pub currency: String,
    pub manual_capture: bool,
    pub status: IntentStatus,
    /// The token as sent, with the faults it carries.
    pub payment_method: Option<String>,
    pub metadata: Metadata,
    pub description: Option<String>,
    pub statement_descriptor_suffix: Option<String>,
    pub charge: Option<String>,
    pub canceled_at_s: Option<u64>,
    pub cancellation_reason: Option<String>,
    pub last_decline: Option<Decline>,
}

/// One attempt to charge a card.
#[derive(Clone, Debug)]
pub struct Charge {
    pub id: String,
    pub created_s: u64,
    pub intent: String,
    pub amount: u64,
    pub payment_method: String,
    pub captured: u64,
    pub refunded: u64,
    pub fee: u64,
    pub decline: Option<Decline>,
    /// The balance transaction of the capture.
    pub transaction: Option<String>,
    pub refunds: Vec<String>,
    pub dispute: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refund {
    pub id: String,
    pub created_s: u64,
    pub intent: String,
    pub charge: String,
    pub amount: u64,
    pub currency: String,
    pub reason: Option<String>,
    pub metadata: Metadata,
    /// The balance transaction; a refund that failed has none and moved no money.
    pub transaction: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStatus {
    NeedsResponse,
    Won,
    Lost,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dispute {
    pub id: String,
    pub created_s: u64,
    pub intent: String,
    pub charge: String,
    pub amount: u64,
    pub fee: u64,
    pub currency: String,
    pub reason: String,
    pub status: DisputeStatus,
    /// The withdrawal and, once won, the return.
    pub transactions: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionKind {
    Charge,
    Refund,
    Dispute,
    DisputeReversal,
}

/// One movement of the provider's balance. What reaches the merchant is `amount - fee`.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub id: String,
    pub created_s: u64,
    pub kind: TransactionKind,
    pub amount: i64,
    pub fee: i64,
    pub currency: String,
    pub source: String,
}

/// A row that can be listed: newest first, from an id on.
pub trait Row {
    fn id(&self) -> &str;
    fn created_s(&self) -> u64;
}

macro_rules! rows {
    ($($kind:ty),*) => {
        $(impl Row for $kind {
            fn id(&self) -> &str { &self.id }
            fn created_s(&self) -> u64 { self.created_s }
        })*
    };
}
rows!(Intent, Charge, Refund, Dispute, Transaction);

/// Rows in the order of their creation, found by id.
#[derive(Debug)]
pub struct Table<T> {
    rows: Vec<T>,
    positions: HashMap<String, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { rows: Vec::new(), positions: HashMap::new() }
    }
}

impl<T: Row> Table<T> {
    pub fn get(&self, id: &str) -> Option<&T> {
        self.positions.get(id).map(|&position| &self.rows[position])
    }

    pub fn position(&self, id: &str) -> Option<usize> {
        self.positions.get(id).copied()
    }

    /// In the order of creation.
    pub fn rows(&self) -> &[T] {
        &self.rows
    }

    fn insert(&mut self, row: T) {
        self.positions.insert(row.id().to_owned(), self.rows.len());
        self.rows.push(row);
    }

    /// The row a fact names: the log only holds facts about rows that earlier facts made.
    fn known(&mut self, id: &str) -> &mut T {
        let position = self.positions[id];
        &mut self.rows[position]
    }
}

#[derive(Debug, Default)]
pub struct Books {
    pub intents: Table<Intent>,
    pub charges: Table<Charge>,
    pub refunds: Table<Refund>,
    pub disputes: Table<Dispute>,
    pub transactions: Table<Transaction>,
    /// Positions of intents by metadata key and value, for search.
    by_metadata: HashMap<(String, String), Vec<usize>>,
}

impl Books {
    /// Folds one fact, which happened at this time, into the state.
    pub fn apply(&mut self, at_s: u64, fact: &Fact) {
        match fact {
            Fact::IntentCreated(intent) => self.add_intent(intent.clone()),
            Fact::Authorized { intent, charge, payment_method } => {
                let intent = self.add_charge(at_s, intent, charge, payment_method, None);
                intent.status = IntentStatus::RequiresCapture;
                intent.last_decline = None;
            }
            Fact::Declined { intent, charge, payment_method, decline } => {
                let intent = self.add_charge(at_s, intent, charge, payment_method, Some(decline.clone()));
                intent.status = IntentStatus::RequiresPaymentMethod;
                intent.payment_method = None;
                intent.last_decline = Some(decline.clone());
            }
            Fact::Captured { intent, amount, fee, transaction } => {
                self.capture(at_s, intent, *amount, *fee, transaction);
            }
            Fact::Canceled { intent, reason } => {
                let intent = self.intents.known(intent);
                intent.status = IntentStatus::Canceled;
                intent.canceled_at_s = Some(at_s);
                intent.cancellation_reason = reason.clone();
            }
            Fact::Refunded(refund) => self.add_refund(at_s, refund.clone()),
            Fact::DisputeOpened(dispute) => self.add_dispute(at_s, dispute.clone()),
            Fact::DisputeClosed { dispute, won, transaction } => {
                self.close_dispute(at_s, dispute, *won, transaction.as_deref());
            }
        }
    }

    fn add_intent(&mut self, intent: Intent) {
        let position = self.intents.rows.len();
        for (key, value) in &intent.metadata {
            self.by_metadata.entry((key.clone(), value.clone())).or_default().push(position);
        }
        self.intents.insert(intent);
    }

    fn add_charge(
        &mut self,
        at_s: u64,
        intent: &str,
        charge: &str,
        payment_method: &str,
        decline: Option<Decline>,
    ) -> &mut Intent {
        let intent = self.intents.known(intent);
        intent.charge = Some(charge.to_owned());
        intent.payment_method = Some(payment_method.to_owned());
        self.charges.insert(Charge {
            id: charge.to_owned(),
            created_s: at_s,
            intent: intent.id.clone(),
            amount: intent.amount,
            payment_method: payment_method.to_owned(),
            captured: 0,
            refunded: 0,
            fee: 0,
            decline,
            transaction: None,
            refunds: Vec::new(),
            dispute: None,
        });
        intent
    }

    fn capture(&mut self, at_s: u64, intent: &str, amount: u64, fee: u64, transaction: &str) {
        let intent = self.intents.known(intent);
        intent.status = IntentStatus::Succeeded;
        let charge = intent.charge.as_deref().expect("only an authorized intent, which has a charge, is captured");
        let charge = self.charges.known(charge);
        charge.captured = amount;
        charge.fee = fee;
        charge.transaction = Some(transaction.to_owned());
        self.transactions.insert(Transaction {
            id: transaction.to_owned(),
            created_s: at_s,
            kind: TransactionKind::Charge,
            amount: signed(amount),
            fee: signed(fee),
            currency: intent.currency.clone(),
            source: charge.id.clone(),
        });
    }

    fn add_refund(&mut self, at_s: u64, refund: Refund) {
        let charge = self.charges.known(&refund.charge);
        charge.refunds.push(refund.id.clone());
        if let Some(transaction) = &refund.transaction {
            charge.refunded += refund.amount;
            self.transactions.insert(Transaction {
                id: transaction.clone(),
                created_s: at_s,
                kind: TransactionKind::Refund,
                amount: -signed(refund.amount),
                fee: 0,
                currency: refund.currency.clone(),
                source: refund.id.clone(),
            });
        }
        self.refunds.insert(refund);
    }

    fn add_dispute(&mut self, at_s: u64, dispute: Dispute) {
        self.charges.known(&dispute.charge).dispute = Some(dispute.id.clone());
        for transaction in &dispute.transactions {
            self.transactions.insert(Transaction {
                id: transaction.clone(),
                created_s: at_s,
                kind: TransactionKind::Dispute,
                amount: -signed(dispute.amount),
                fee: signed(dispute.fee),
                currency: dispute.currency.clone(),
                source: dispute.id.clone(),
            });
        }
        self.disputes.insert(dispute);
    }

    fn close_dispute(&mut self, at_s: u64, dispute: &str, won: bool, transaction: Option<&str>) {
        let dispute = self.disputes.known(dispute);
        dispute.status = if won { DisputeStatus::Won } else { DisputeStatus::Lost };
        if let Some(transaction) = transaction {
            dispute.transactions.push(transaction.to_owned());
            self.transactions.insert(Transaction {
                id: transaction.to_owned(),
                created_s: at_s,
                kind: TransactionKind::DisputeReversal,
                amount: signed(dispute.amount),
                fee: 0,
                currency: dispute.currency.clone(),
                source: dispute.id.clone(),
            });
        }
    }

    /// The charge that the intent's money is on, if it was tried at all.
    pub fn charge_of(&self, intent: &Intent) -> Option<&Charge> {
        self.charges.get(intent.charge.as_deref()?)
    }

    pub fn dispute_of(&self, charge: &Charge) -> Option<&Dispute> {
        self.disputes.get(charge.dispute.as_deref()?)
    }

    /// The intents that carry this metadata, oldest first.
    pub fn with_metadata<'a>(&'a self, key: &str, value: &str) -> impl Iterator<Item = &'a Intent> {
        let positions = self.by_metadata.get(&(key.to_owned(), value.to_owned()));
        positions.into_iter().flatten().map(|&position| &self.intents.rows[position])
    }

    /// The balance transactions of a charge, refund or dispute.
    pub fn transactions_of(&self, source: &str) -> Vec<&Transaction> {
        let of_charge = self.charges.get(source).and_then(|charge| charge.transaction.as_ref());
        let of_refund = self.refunds.get(source).and_then(|refund| refund.transaction.as_ref());
        let of_dispute = self.disputes.get(source).map(|dispute| dispute.transactions.as_slice()).unwrap_or_default();
        let ids = of_charge.into_iter().chain(of_refund).chain(of_dispute);
        ids.filter_map(|id| self.transactions.get(id)).collect()
    }
}

/// Amounts are at most `request::MAX_AMOUNT`, far below what an `i64` holds.
fn signed(amount: u64) -> i64 {
    i64::try_from(amount).expect("amounts are bounded")
}

/// What was really charged for one intent, or in sum for one currency: the tests' judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Ever authorized, whether captured or let go.
    pub authorized: u64,
    pub captured: u64,
    pub refunded: u64,
    /// Of captures and disputes.
    pub fees: u64,
    /// Withdrawn by disputes that are open or lost.
    pub disputed: u64,
    /// Captured minus refunded, fees and disputed.
    pub balance: i64,
}

impl Account {
    pub fn of(books: &Books, intent: &Intent) -> Account {
        let Some(charge) = books.charge_of(intent).filter(|charge| charge.decline.is_none()) else {
            return Account::default();
        };
        let dispute = books.dispute_of(charge);
        let disputed =
            dispute.filter(|dispute| dispute.status != DisputeStatus::Won).map_or(0, |dispute| dispute.amount);
        let fees = charge.fee + dispute.map_or(0, |dispute| dispute.fee);
        Account {
            authorized: charge.amount,
            captured: charge.captured,
            refunded: charge.refunded,
            fees,
            disputed,
            balance: signed(charge.captured) - signed(charge.refunded) - signed(fees) - signed(disputed),
        }
    }

    pub fn add(&mut self, other: &Account) {
        self.authorized += other.authorized;
        self.captured += other.captured;
        self.refunded += other.refunded;
        self.fees += other.fees;
        self.disputed += other.disputed;
        self.balance += other.balance;
    }
}
