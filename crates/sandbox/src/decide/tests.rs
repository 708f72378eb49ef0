use super::*;
use crate::books::Account;

/// Books that commands are tried on, one after the other.
struct Desk {
    books: Books,
    ids: Ids,
    fees: Fees,
}

impl Desk {
    fn new() -> Desk {
        Desk { books: Books::default(), ids: Ids::resume(1, 0), fees: Fees::default() }
    }

    fn run(&mut self, command: Command, decline: bool) -> Result<Shown, ApiError> {
        let mut cx = Context { ids: &mut self.ids, now_s: 100, fees: self.fees, decline };
        let Decision { facts, shown } = decide(&self.books, &command, &mut cx)?;
        for fact in &facts {
            self.books.apply(100, fact);
        }
        Ok(shown)
    }

    fn pay(&mut self, amount: u64, card: &str, manual_capture: bool) -> String {
        let command = Command::Create(NewIntent {
            amount,
            currency: "usd".to_owned(),
            manual_capture,
            payment_method: Some(card.to_owned()),
            confirm: true,
            metadata: Metadata::new(),
            description: None,
            statement_descriptor_suffix: None,
        });
        match self.run(command, false).unwrap() {
            Shown::Intent(id) | Shown::Declined { intent: id, .. } => id,
            other => panic!("shows {other:?}"),
        }
    }

    fn capture(&mut self, intent: &str, amount: Option<u64>) -> Result<Shown, ApiError> {
        self.run(Command::Capture { intent: intent.to_owned(), amount }, false)
    }

    fn cancel(&mut self, intent: &str) -> Result<Shown, ApiError> {
        self.run(Command::Cancel { intent: intent.to_owned(), reason: None }, false)
    }

    fn refund(&mut self, intent: &str, amount: Option<u64>, decline: bool) -> Result<Shown, ApiError> {
        let target = RefundTarget::Intent(intent.to_owned());
        self.run(Command::Refund(NewRefund { target, amount, reason: None, metadata: Metadata::new() }), decline)
    }

    fn dispute(&mut self, intent: &str) -> Result<Shown, ApiError> {
        let (intent, reason) = (intent.to_owned(), "general".to_owned());
        self.run(Command::OpenDispute { intent, amount: None, reason }, false)
    }

    fn status(&self, intent: &str) -> IntentStatus {
        self.books.intents.get(intent).unwrap().status
    }

    fn account(&self, intent: &str) -> Account {
        Account::of(&self.books, self.books.intents.get(intent).unwrap())
    }

    fn net(&self) -> i64 {
        self.books.transactions.rows().iter().map(|row| row.amount - row.fee).sum()
    }
}

fn code(result: Result<Shown, ApiError>) -> String {
    result.unwrap_err().code.unwrap()
}

#[test]
fn the_fee_of_a_capture_is_rounded_half_up() {
    let fees = Fees::default();
    assert_eq!(fees.of_capture(10_000), 320);
    assert_eq!(fees.of_capture(50), 31, "1.45 rounds to 1");
    assert_eq!(fees.of_capture(500), 45, "14.5 rounds to 15");
}

#[test]
fn a_manual_payment_is_held_then_taken_in_part() {
    let mut desk = Desk::new();
    let intent = desk.pay(10_000, "pm_card_visa", true);
    assert_eq!(desk.status(&intent), IntentStatus::RequiresCapture);
    assert_eq!(desk.account(&intent), Account { authorized: 10_000, ..Account::default() });
    assert_eq!(code(desk.capture(&intent, Some(10_001))), "amount_too_large");
    desk.capture(&intent, Some(4_000)).unwrap();
    assert_eq!(desk.status(&intent), IntentStatus::Succeeded);
    let account = desk.account(&intent);
    assert_eq!((account.captured, account.fees, account.balance), (4_000, 146, 3_854));
    assert_eq!(code(desk.capture(&intent, None)), "payment_intent_unexpected_state");
    assert_eq!(code(desk.cancel(&intent)), "payment_intent_unexpected_state");
}

#[test]
fn a_declined_payment_can_be_tried_with_another_card() {
    let mut desk = Desk::new();
    let intent = desk.pay(500, "pm_card_visa_chargeDeclined", false);
    assert_eq!(desk.status(&intent), IntentStatus::RequiresPaymentMethod);
    assert_eq!(desk.account(&intent), Account::default());
    let payment_method = Some("pm_card_visa".to_owned());
    desk.run(Command::Confirm { intent: intent.clone(), payment_method }, false).unwrap();
    assert_eq!(desk.status(&intent), IntentStatus::Succeeded);
    assert_eq!(desk.account(&intent).captured, 500);
}

#[test]
fn a_canceled_payment_costs_nothing_and_stays_canceled() {
    let mut desk = Desk::new();
    let intent = desk.pay(500, "pm_card_visa", true);
    desk.cancel(&intent).unwrap();
    assert_eq!(desk.status(&intent), IntentStatus::Canceled);
    assert_eq!(desk.account(&intent).balance, 0);
    assert_eq!(code(desk.capture(&intent, None)), "payment_intent_unexpected_state");
    assert_eq!(code(desk.refund(&intent, None, false)), "payment_intent_unexpected_state");
}

#[test]
fn never_more_is_refunded_than_was_captured() {
    let mut desk = Desk::new();
    let intent = desk.pay(1_000, "pm_card_visa", false);
    desk.refund(&intent, Some(400), false).unwrap();
    assert_eq!(code(desk.refund(&intent, Some(601), false)), "amount_too_large");
    desk.refund(&intent, Some(600), true).unwrap();
    assert_eq!(desk.account(&intent).refunded, 400, "a refund that failed moves nothing");
    desk.refund(&intent, None, false).unwrap();
    assert_eq!(desk.account(&intent).refunded, 1_000);
    assert_eq!(code(desk.refund(&intent, None, false)), "charge_already_refunded");
    assert_eq!(desk.account(&intent).balance, -59, "the fee stays paid");
    assert_eq!(desk.net(), -59);
}

#[test]
fn a_dispute_takes_the_money_until_it_is_won() {
    let mut desk = Desk::new();
    desk.fees.dispute_minor = 1_500;
    let intent = desk.pay(10_000, "pm_card_createDispute", false);
    assert_eq!(desk.account(&intent).balance, -320 - 1_500);
    assert_eq!(code(desk.refund(&intent, None, false)), "charge_disputed");
    assert_eq!(code(desk.dispute(&intent)), "charge_disputed");
    let dispute = desk.books.disputes.rows()[0].id.clone();
    desk.run(Command::CloseDispute { dispute: dispute.clone(), won: true }, false).unwrap();
    assert_eq!(desk.account(&intent).balance, 10_000 - 320 - 1_500);
    assert_eq!(desk.net(), 10_000 - 320 - 1_500);
    assert_eq!(code(desk.run(Command::CloseDispute { dispute, won: true }, false)), "dispute_already_closed");
    desk.refund(&intent, None, false).unwrap();
}

#[test]
fn a_lost_dispute_keeps_the_money() {
    let mut desk = Desk::new();
    let intent = desk.pay(10_000, "pm_card_visa", false);
    let Shown::Dispute(dispute) = desk.dispute(&intent).unwrap() else { panic!("shows no dispute") };
    desk.run(Command::CloseDispute { dispute, won: false }, false).unwrap();
    assert_eq!(desk.account(&intent).disputed, 10_000);
    assert_eq!(desk.net(), desk.account(&intent).balance);
    assert_eq!(code(desk.refund(&intent, None, false)), "charge_disputed");
}

#[test]
fn what_is_not_there_is_missing() {
    let mut desk = Desk::new();
    assert_eq!(code(desk.capture("pi_none", None)), "resource_missing");
    assert_eq!(code(desk.refund("pi_none", None, false)), "resource_missing");
    let closed = desk.run(Command::CloseDispute { dispute: "dp_none".to_owned(), won: true }, false);
    assert_eq!(code(closed), "resource_missing");
}
