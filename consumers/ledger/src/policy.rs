//! What payment facts come to in the books.
//!
//! | fact | debit | credit | how much |
//! |---|---|---|---|
//! | captured | clearing | revenue | amount |
//! | refunded | revenue | clearing | amount |
//! | dispute opened | disputes | clearing | amount |
//! | dispute won | clearing | disputes | amount |
//! | captured, dispute opened or closed | provider fees | clearing | fee |
//!
//! So clearing is at any time what the provider holds for the organization: captured minus refunded, fees and disputed.
//! A lost amount has left with the dispute's opening. The fee of its end is what came on top since then.
//!
//! *2026-11: revenue is recognized when the payment is captured.* Deferring it until the refund window is over needs a
//! fact that says so; until there is one, deferred revenue would only grow.

use std::collections::BTreeMap;

use daybook_consumer::{Ask, Meta, Policy};
use daybook_events::{
    Currency, DisputeClosed, DisputeOpened, EntryId, EntryLine, EntrySource, Family, Message, Money, OrganizationId,
    PaymentCaptured, PaymentEvent, PaymentRefunded, PostEntry, derive_id,
};

use crate::accounts::{DISPUTES, PROVIDER_CLEARING, PROVIDER_FEES, REVENUE};

/// The policy.
pub struct LedgerPolicy;

impl Policy for LedgerPolicy {
    const NAME: &'static str = "ledger-policy";
    type Event = PaymentEvent;
    const OUTPUTS: &'static [&'static str] = &[PostEntry::TOPIC];

    fn react(event: &PaymentEvent, meta: &Meta<'_>) -> Vec<Ask> {
        let fact = match event {
            PaymentEvent::PaymentCaptured(event) => captured(event),
            PaymentEvent::PaymentRefunded(event) => refunded(event),
            PaymentEvent::DisputeOpened(event) => dispute_opened(event),
            PaymentEvent::DisputeClosed(event) => dispute_closed(event),
            PaymentEvent::PaymentAuthorizationRequested(_)
            | PaymentEvent::PaymentAuthorized(_)
            | PaymentEvent::PaymentDeclined(_)
            | PaymentEvent::PaymentCaptureRequested(_)
            | PaymentEvent::CaptureFailed(_)
            | PaymentEvent::PaymentVoidRequested(_)
            | PaymentEvent::AuthorizationVoided(_)
            | PaymentEvent::VoidFailed(_)
            | PaymentEvent::PaymentRefundRequested(_)
            | PaymentEvent::RefundFailed(_)
            | PaymentEvent::PaymentCanceled(_) => return Vec::new(),
        };
        fact.entry(event, meta).iter().map(Ask::of).collect()
    }
}

/// A fact as the books see it.
struct Fact {
    organization_id: OrganizationId,
    /// What kind of fact it is, and of what: the same fact gives the same entry, however often it is told.
    kind: &'static str,
    of: Vec<u8>,
    transfers: Vec<Transfer>,
    memo: String,
}

/// An amount that goes from one account to another; so whatever is made of transfers balances.
struct Transfer {
    debit: &'static str,
    credit: &'static str,
    amount: Money,
}

impl Fact {
    /// The entry, if anything moves.
    fn entry(self, event: &PaymentEvent, meta: &Meta<'_>) -> Option<PostEntry> {
        let lines = lines(&self.transfers);
        let organization = self.organization_id.uuid();
        let entry_id = derive_id("ledger-entry", &[self.kind.as_bytes(), organization.as_bytes(), &self.of]);
        (!lines.is_empty()).then(|| PostEntry {
            organization_id: self.organization_id,
            entry_id: EntryId::new(entry_id),
            lines,
            memo: self.memo,
            source: EntrySource { message_id: meta.message_id, message_type: event.full_name().to_owned() },
            occurred_at: meta.time,
        })
    }
}

/// A line for each account and currency in which something moves. Amounts are bounded where payments are made, far
/// below what could overflow here.
fn lines(transfers: &[Transfer]) -> Vec<EntryLine> {
    let mut sums = BTreeMap::<(&str, Currency), i64>::new();
    for Transfer { debit, credit, amount } in transfers {
        *sums.entry((debit, amount.currency)).or_default() += amount.amount_minor;
        *sums.entry((credit, amount.currency)).or_default() -= amount.amount_minor;
    }
    sums.into_iter()
        .filter(|(_, amount_minor)| *amount_minor != 0)
        .map(|((account, currency), amount_minor)| EntryLine {
            account: account.to_owned(),
            amount: Money::new(amount_minor, currency),
        })
        .collect()
}

fn transfer(debit: &'static str, credit: &'static str, amount: Money) -> Transfer {
    Transfer { debit, credit, amount }
}

fn captured(event: &PaymentCaptured) -> Fact {
    Fact {
        organization_id: event.organization_id,
        kind: "captured",
        of: event.payment_id.uuid().as_bytes().to_vec(),
        transfers: vec![
            transfer(PROVIDER_CLEARING, REVENUE, event.amount),
            transfer(PROVIDER_FEES, PROVIDER_CLEARING, event.fee),
        ],
        memo: format!("payment {} captured", event.payment_id),
    }
}

fn refunded(event: &PaymentRefunded) -> Fact {
    Fact {
        organization_id: event.organization_id,
        kind: "refunded",
        of: event.refund_id.uuid().as_bytes().to_vec(),
        transfers: vec![transfer(REVENUE, PROVIDER_CLEARING, event.amount)],
        memo: format!("payment {} refunded", event.payment_id),
    }
}

fn dispute_opened(event: &DisputeOpened) -> Fact {
    Fact {
        organization_id: event.organization_id,
        kind: "dispute-opened",
        of: event.dispute_id.as_bytes().to_vec(),
        transfers: vec![
            transfer(DISPUTES, PROVIDER_CLEARING, event.amount),
            transfer(PROVIDER_FEES, PROVIDER_CLEARING, event.fee),
        ],
        memo: format!("payment {} disputed", event.payment_id),
    }
}

fn dispute_closed(event: &DisputeClosed) -> Fact {
    let won = event.won.then(|| transfer(PROVIDER_CLEARING, DISPUTES, event.amount));
    let fee = transfer(PROVIDER_FEES, PROVIDER_CLEARING, event.fee);
    Fact {
        organization_id: event.organization_id,
        kind: "dispute-closed",
        of: event.dispute_id.as_bytes().to_vec(),
        transfers: won.into_iter().chain([fee]).collect(),
        memo: format!("dispute of payment {} {}", event.payment_id, if event.won { "won" } else { "lost" }),
    }
}
