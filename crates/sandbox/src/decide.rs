//! Which facts follow from a request: pure rules over the books.

use crate::books::{Books, Charge, Dispute, DisputeStatus, Fact, Intent, IntentStatus, Metadata, Refund};
use crate::cards::{self, Card, Decline};
use crate::error::ApiError;
use crate::faults;
use crate::ids::Ids;
use serde::{Deserialize, Serialize};

/// What the provider keeps of each capture and dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fees {
    /// Share of a capture, in hundredths of a percent.
    pub rate_basis_points: u64,
    /// Per capture, in minor units.
    pub fixed_minor: u64,
    /// Per dispute, in minor units; kept also when the dispute is won.
    pub dispute_minor: u64,
}

const BASIS_POINTS: u64 = 10_000;

impl Default for Fees {
    fn default() -> Self {
        Fees { rate_basis_points: 290, fixed_minor: 30, dispute_minor: 0 }
    }
}

impl Fees {
    /// The fee of a capture, its share rounded half up.
    pub fn of_capture(&self, amount: u64) -> u64 {
        (amount * self.rate_basis_points + BASIS_POINTS / 2) / BASIS_POINTS + self.fixed_minor
    }

    /// Whether a fee stays in the range that amounts are counted in.
    pub fn check(&self) -> bool {
        self.rate_basis_points <= BASIS_POINTS
            && self.fixed_minor <= crate::request::MAX_AMOUNT
            && self.dispute_minor <= crate::request::MAX_AMOUNT
    }
}

/// A validated request to change something.
#[derive(Clone, Debug)]
pub enum Command {
    Create(NewIntent),
    Confirm { intent: String, payment_method: Option<String> },
    Capture { intent: String, amount: Option<u64> },
    Cancel { intent: String, reason: Option<String> },
    Refund(NewRefund),
    OpenDispute { intent: String, amount: Option<u64>, reason: String },
    CloseDispute { dispute: String, won: bool },
}

#[derive(Clone, Debug)]
pub struct NewIntent {
    pub amount: u64,
    pub currency: String,
    pub manual_capture: bool,
    pub payment_method: Option<String>,
    pub confirm: bool,
    pub metadata: Metadata,
    pub description: Option<String>,
    pub statement_descriptor_suffix: Option<String>,
}

#[derive(Clone, Debug)]
pub struct NewRefund {
    pub target: RefundTarget,
    pub amount: Option<u64>,
    pub reason: Option<String>,
    pub metadata: Metadata,
}

#[derive(Clone, Debug)]
pub enum RefundTarget {
    Intent(String),
    Charge(String),
}

/// What a decision needs besides the books.
pub struct Context<'a> {
    pub ids: &'a mut Ids,
    pub now_s: u64,
    pub fees: Fees,
    /// Refuse, whatever the card.
    pub decline: bool,
}

/// The facts that follow, and which object the answer shows once they are applied.
#[derive(Debug)]
pub struct Decision {
    pub facts: Vec<Fact>,
    pub shown: Shown,
}

#[derive(Debug)]
pub enum Shown {
    Intent(String),
    Refund(String),
    Dispute(String),
    /// A card error with the intent it leaves behind.
    Declined {
        intent: String,
        decline: Decline,
    },
}

/// Decides a command.
///
/// # Errors
/// The refusal, if the command doesn't fit the state of the books; then nothing happened.
pub fn decide(books: &Books, command: &Command, cx: &mut Context<'_>) -> Result<Decision, ApiError> {
    match command {
        Command::Create(new) => create(new, cx),
        Command::Confirm { intent, payment_method } => confirm(find(books, intent)?, payment_method.as_deref(), cx),
        Command::Capture { intent, amount } => capture(find(books, intent)?, *amount, cx),
        Command::Cancel { intent, reason } => cancel(find(books, intent)?, reason.clone()),
        Command::Refund(new) => refund(books, new, cx),
        Command::OpenDispute { intent, amount, reason } => {
            open_dispute(books, find(books, intent)?, *amount, reason, cx)
        }
        Command::CloseDispute { dispute, won } => close_dispute(books, dispute, *won, cx),
    }
}

fn find<'a>(books: &'a Books, id: &str) -> Result<&'a Intent, ApiError> {
    books.intents.get(id).ok_or_else(|| ApiError::missing("payment intent"))
}

/// The card of a token that may carry faults.
pub fn card(payment_method: &str) -> Result<Card, ApiError> {
    let (token, _) = faults::split_token(payment_method);
    cards::lookup(token).ok_or_else(|| ApiError::parameter("resource_missing", "payment_method"))
}

fn create(new: &NewIntent, cx: &mut Context<'_>) -> Result<Decision, ApiError> {
    let intent = Intent {
        id: cx.ids.next("pi"),
        created_s: cx.now_s,
        amount: new.amount,
        currency: new.currency.clone(),
        manual_capture: new.manual_capture,
        status: match new.payment_method {
            Some(_) => IntentStatus::RequiresConfirmation,
            None => IntentStatus::RequiresPaymentMethod,
        },
        payment_method: new.payment_method.clone(),
        metadata: new.metadata.clone(),
        description: new.description.clone(),
        statement_descriptor_suffix: new.statement_descriptor_suffix.clone(),
        charge: None,
        canceled_at_s: None,
        cancellation_reason: None,
        last_decline: None,
    };
    let mut facts = vec![Fact::IntentCreated(intent.clone())];
    let shown = match new.payment_method.as_deref().filter(|_| new.confirm) {
        Some(payment_method) => charge(&intent, payment_method, cx, &mut facts)?,
        None => Shown::Intent(intent.id),
    };
    Ok(Decision { facts, shown })
}

fn confirm(intent: &Intent, payment_method: Option<&str>, cx: &mut Context<'_>) -> Result<Decision, ApiError> {
    if !matches!(intent.status, IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation) {
        return Err(ApiError::unexpected_state(intent.status.name(), "requires_confirmation"));
    }
    let payment_method = payment_method
        .or(intent.payment_method.as_deref())
        .ok_or_else(|| ApiError::parameter("parameter_missing", "payment_method"))?;
    let mut facts = Vec::new();
    let shown = charge(intent, payment_method, cx, &mut facts)?;
    Ok(Decision { facts, shown })
}

fn charge(
    intent: &Intent,
    payment_method: &str,
    cx: &mut Context<'_>,
    facts: &mut Vec<Fact>,
) -> Result<Shown, ApiError> {
    let card = match card(payment_method)? {
        _ if cx.decline => Card::Declines(cards::GENERIC_DECLINE),
        card => card,
    };
    let charge = cx.ids.next("ch");
    let (intent_id, payment_method) = (intent.id.clone(), payment_method.to_owned());
    if let Card::Declines(decline) = card {
        let shown = Shown::Declined { intent: intent_id.clone(), decline: decline.clone() };
        facts.push(Fact::Declined { intent: intent_id, charge, payment_method, decline });
        return Ok(shown);
    }
    facts.push(Fact::Authorized { intent: intent_id.clone(), charge: charge.clone(), payment_method });
    if !intent.manual_capture {
        settle(intent, &charge, intent.amount, &card, cx, facts);
    }
    Ok(Shown::Intent(intent_id))
}

/// Takes the money, and opens the dispute that some cards bring with them.
fn settle(intent: &Intent, charge: &str, amount: u64, card: &Card, cx: &mut Context<'_>, facts: &mut Vec<Fact>) {
    let fee = cx.fees.of_capture(amount);
    facts.push(Fact::Captured { intent: intent.id.clone(), amount, fee, transaction: cx.ids.next("txn") });
    if *card == Card::Disputes {
        facts.push(Fact::DisputeOpened(new_dispute(intent, charge, amount, "fraudulent", cx)));
    }
}

fn capture(intent: &Intent, amount: Option<u64>, cx: &mut Context<'_>) -> Result<Decision, ApiError> {
    let (IntentStatus::RequiresCapture, Some(charge), Some(payment_method)) =
        (intent.status, &intent.charge, &intent.payment_method)
    else {
        return Err(ApiError::unexpected_state(intent.status.name(), "requires_capture"));
    };
    let amount = amount.unwrap_or(intent.amount);
    if amount > intent.amount {
        return Err(ApiError::parameter("amount_too_large", "amount_to_capture"));
    }
    if cx.decline {
        let shown = Shown::Declined { intent: intent.id.clone(), decline: cards::GENERIC_DECLINE };
        return Ok(Decision { facts: Vec::new(), shown });
    }
    let mut facts = Vec::new();
    settle(intent, charge, amount, &card(payment_method)?, cx, &mut facts);
    Ok(Decision { facts, shown: Shown::Intent(intent.id.clone()) })
}

fn cancel(intent: &Intent, reason: Option<String>) -> Result<Decision, ApiError> {
    if matches!(intent.status, IntentStatus::Succeeded | IntentStatus::Canceled) {
        return Err(ApiError::unexpected_state(intent.status.name(), "requires_capture or earlier"));
    }
    let facts = vec![Fact::Canceled { intent: intent.id.clone(), reason }];
    Ok(Decision { facts, shown: Shown::Intent(intent.id.clone()) })
}

fn refund(books: &Books, new: &NewRefund, cx: &mut Context<'_>) -> Result<Decision, ApiError> {
    let charge = match &new.target {
        RefundTarget::Charge(id) => books.charges.get(id).ok_or_else(|| ApiError::missing("charge"))?,
        RefundTarget::Intent(id) => captured_charge(books, find(books, id)?)?,
    };
    let intent = find(books, &charge.intent)?;
    let left = refundable(books, charge)?;
    let amount = new.amount.unwrap_or(left);
    if amount > left {
        return Err(ApiError::parameter("amount_too_large", "amount"));
    }
    let refund = Refund {
        id: cx.ids.next("re"),
        created_s: cx.now_s,
        intent: intent.id.clone(),
        charge: charge.id.clone(),
        amount,
        currency: intent.currency.clone(),
        reason: new.reason.clone(),
        metadata: new.metadata.clone(),
        transaction: (!cx.decline).then(|| cx.ids.next("txn")),
    };
    let shown = Shown::Refund(refund.id.clone());
    Ok(Decision { facts: vec![Fact::Refunded(refund)], shown })
}

fn captured_charge<'a>(books: &'a Books, intent: &Intent) -> Result<&'a Charge, ApiError> {
    books
        .charge_of(intent)
        .filter(|charge| charge.captured > 0)
        .ok_or_else(|| ApiError::unexpected_state(intent.status.name(), "succeeded"))
}

/// What is left to refund of a charge: more than nothing, and never while a dispute has the money.
fn refundable(books: &Books, charge: &Charge) -> Result<u64, ApiError> {
    if books.dispute_of(charge).is_some_and(|dispute| dispute.status != DisputeStatus::Won) {
        return Err(ApiError::invalid("charge_disputed", "The charge is disputed and cannot be refunded."));
    }
    match charge.captured - charge.refunded {
        0 if charge.captured > 0 => {
            Err(ApiError::invalid("charge_already_refunded", "The charge has already been refunded."))
        }
        0 => Err(ApiError::invalid("charge_not_captured", "The charge has not been captured.")),
        left => Ok(left),
    }
}

fn new_dispute(intent: &Intent, charge: &str, amount: u64, reason: &str, cx: &mut Context<'_>) -> Dispute {
    Dispute {
        id: cx.ids.next("dp"),
        created_s: cx.now_s,
        intent: intent.id.clone(),
        charge: charge.to_owned(),
        amount,
        fee: cx.fees.dispute_minor,
        currency: intent.currency.clone(),
        reason: reason.to_owned(),
        status: DisputeStatus::NeedsResponse,
        transactions: vec![cx.ids.next("txn")],
    }
}

fn open_dispute(
    books: &Books,
    intent: &Intent,
    amount: Option<u64>,
    reason: &str,
    cx: &mut Context<'_>,
) -> Result<Decision, ApiError> {
    let charge = captured_charge(books, intent)?;
    if charge.dispute.is_some() {
        return Err(ApiError::invalid("charge_disputed", "The charge was disputed before."));
    }
    let left = refundable(books, charge)?;
    let amount = amount.unwrap_or(left);
    if amount > left {
        return Err(ApiError::parameter("amount_too_large", "amount"));
    }
    let dispute = new_dispute(intent, &charge.id, amount, reason, cx);
    let shown = Shown::Dispute(dispute.id.clone());
    Ok(Decision { facts: vec![Fact::DisputeOpened(dispute)], shown })
}

fn close_dispute(books: &Books, id: &str, won: bool, cx: &mut Context<'_>) -> Result<Decision, ApiError> {
    let dispute = books.disputes.get(id).ok_or_else(|| ApiError::missing("dispute"))?;
    if dispute.status != DisputeStatus::NeedsResponse {
        return Err(ApiError::invalid("dispute_already_closed", "The dispute is closed."));
    }
    let transaction = won.then(|| cx.ids.next("txn"));
    let facts = vec![Fact::DisputeClosed { dispute: id.to_owned(), won, transaction }];
    Ok(Decision { facts, shown: Shown::Dispute(id.to_owned()) })
}

#[cfg(test)]
mod tests;
