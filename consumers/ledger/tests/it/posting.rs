//! The policy: what payment facts come to in the books.

use std::collections::BTreeMap;

use daybook_consumer::testing::Bench;
use daybook_events::{
    Currency, Discarded, DisputeClosed, DisputeOpened, EnrollmentId, Message, Money, PaymentCaptured, PaymentDeclined,
    PaymentId, PaymentRefunded, PersonId, PostEntry, RefundId, Rejected,
};
use uuid::Uuid;

use crate::ORGANIZATION;

const PAYMENT: PaymentId = PaymentId::from_u128(7);

fn usd(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::USD)
}

fn captured(amount: i64, fee: i64) -> PaymentCaptured {
    PaymentCaptured {
        payment_id: PAYMENT,
        enrollment_id: EnrollmentId::from_u128(8),
        organization_id: ORGANIZATION,
        payer_id: PersonId::from_u128(9),
        amount: usd(amount),
        fee: usd(fee),
        provider_reference: "pi_1".to_owned(),
    }
}

fn refunded(amount: i64) -> PaymentRefunded {
    PaymentRefunded {
        payment_id: PAYMENT,
        organization_id: ORGANIZATION,
        payer_id: PersonId::from_u128(9),
        refund_id: RefundId::from_u128(10),
        amount: usd(amount),
        remaining: usd(0),
        provider_reference: "pi_1".to_owned(),
    }
}

fn opened(amount: i64, fee: i64) -> DisputeOpened {
    DisputeOpened {
        payment_id: PAYMENT,
        organization_id: ORGANIZATION,
        dispute_id: "dp_1".to_owned(),
        amount: usd(amount),
        fee: usd(fee),
        code: "fraudulent".to_owned(),
    }
}

fn closed(amount: i64, fee: i64, won: bool) -> DisputeClosed {
    DisputeClosed {
        payment_id: PAYMENT,
        organization_id: ORGANIZATION,
        dispute_id: "dp_1".to_owned(),
        amount: usd(amount),
        fee: usd(fee),
        won,
    }
}

fn policy() -> Bench {
    Bench::new(&ledger::parts()[1])
}

/// The lines that the policy asks to post.
fn lines_of<M: Message>(fact: &M) -> BTreeMap<String, i64> {
    let asked = policy().send(fact).unwrap().events::<PostEntry>();
    let lines = asked.into_iter().flat_map(|ask| ask.lines);
    lines.map(|line| (line.account, line.amount.amount_minor)).collect()
}

fn moves<const N: usize>(expected: [(&str, i64); N]) -> BTreeMap<String, i64> {
    expected.into_iter().map(|(account, amount)| (account.to_owned(), amount)).collect()
}

#[test]
fn facts_are_posted_by_double_entry() {
    let with_fee = moves([("asset:provider-clearing", 9_680), ("expense:provider-fees", 320), ("revenue", -10_000)]);
    assert_eq!(lines_of(&captured(10_000, 320)), with_fee);
    assert_eq!(lines_of(&captured(10_000, 0)), moves([("asset:provider-clearing", 10_000), ("revenue", -10_000)]));
    // All of it goes to the provider.
    assert_eq!(lines_of(&captured(30, 30)), moves([("expense:provider-fees", 30), ("revenue", -30)]));
    assert_eq!(lines_of(&refunded(4_000)), moves([("revenue", 4_000), ("asset:provider-clearing", -4_000)]));
    let dispute =
        moves([("expense:disputes", 6_000), ("expense:provider-fees", 1_500), ("asset:provider-clearing", -7_500)]);
    assert_eq!(lines_of(&opened(6_000, 1_500)), dispute);
    let won = moves([("asset:provider-clearing", 6_000), ("expense:disputes", -6_000)]);
    assert_eq!(lines_of(&closed(6_000, 0, true)), won);
    assert_eq!(lines_of(&closed(6_000, 0, false)), moves([]), "it has left with the opening");
    let late_fee = moves([("asset:provider-clearing", -500), ("expense:provider-fees", 500)]);
    assert_eq!(lines_of(&closed(6_000, 500, false)), late_fee);
}

#[test]
fn clearing_is_what_the_provider_holds() {
    let flows = [
        lines_of(&captured(10_000, 320)),
        lines_of(&refunded(4_000)),
        lines_of(&opened(6_000, 1_500)),
        lines_of(&closed(6_000, 0, true)),
    ];
    let clearing: i64 = flows.iter().filter_map(|lines| lines.get("asset:provider-clearing")).sum();
    assert_eq!(clearing, 10_000 - 4_000 - (320 + 1_500));
}

#[test]
fn the_same_fact_is_the_same_entry_and_others_are_not() {
    let mut bench = policy();
    let mut entry_id = |fact: &PaymentCaptured| bench.send(fact).unwrap().events::<PostEntry>()[0].entry_id;
    let first = entry_id(&captured(10_000, 320));
    assert_eq!(entry_id(&captured(10_000, 320)), first);
    assert_ne!(entry_id(&PaymentCaptured { payment_id: PaymentId::from_u128(70), ..captured(10_000, 320) }), first);
    let of_opening = policy().send(&opened(1, 0)).unwrap().events::<PostEntry>()[0].entry_id;
    let of_end = policy().send(&closed(1, 0, true)).unwrap().events::<PostEntry>()[0].entry_id;
    assert_ne!(of_opening, of_end);
}

#[test]
fn what_moves_no_money_posts_nothing() {
    let declined = PaymentDeclined {
        payment_id: PAYMENT,
        enrollment_id: EnrollmentId::from_u128(8),
        organization_id: ORGANIZATION,
        payer_id: PersonId::from_u128(9),
        amount: usd(1),
        code: "card-declined".to_owned(),
        provider_reference: None,
    };
    assert_eq!(lines_of(&declined), moves([]));
}

#[test]
fn a_refused_entry_is_shown_to_an_operator() {
    let mut bench = policy();
    let rejected = Rejected {
        key_text: ORGANIZATION.to_string(),
        command: PostEntry::FULL_NAME.to_owned(),
        code: "entry-differs".to_owned(),
        detail: None,
    };
    let handled = bench.control(Uuid::from(PAYMENT), &rejected).unwrap();
    assert_eq!(handled.output.park_beside.unwrap().code, "command-rejected");
    let discarded = Discarded {
        key_text: ORGANIZATION.to_string(),
        command: PostEntry::FULL_NAME.to_owned(),
        reason: "parked-discarded".to_owned(),
    };
    let handled = bench.control(Uuid::from(PAYMENT), &discarded).unwrap();
    assert_eq!(handled.output.park_beside.unwrap().code, "command-discarded");
}
