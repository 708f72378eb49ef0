//! The projection.

use daybook_consumer::testing::shuffle_proof;
use daybook_events::{EntryId, EntryPosted, JournalEvent, OrganizationId, PostEntry, Timestamp};
use ledger::LedgerBalances;

use crate::{line, payout, post, posted};

const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// Entries of two journals, on two days.
fn events() -> Vec<JournalEvent> {
    let mut events: Vec<JournalEvent> = Vec::new();
    for organization in [1_u128, 2] {
        let mut last: Option<EntryPosted> = None;
        for number in 0..4_u128 {
            let lines =
                vec![line("asset:provider-clearing", 95), line("expense:provider-fees", 5), line("revenue", -100)];
            let ask = if number == 3 { payout() } else { post(lines) };
            let ask = PostEntry {
                organization_id: OrganizationId::from_u128(organization),
                entry_id: EntryId::from_u128(organization * 100 + number),
                ..ask
            };
            let at = Timestamp(if number < 2 { 5 } else { DAY_MICROS + 5 });
            let entry = posted(&ask, last.as_ref(), at);
            last = Some(entry.clone());
            events.push(entry.into());
        }
    }
    events
}

#[test]
fn rows_are_equal_in_whatever_order_journals_come() {
    let tables = shuffle_proof::<LedgerBalances>(events());
    let balances: Vec<_> = tables
        .rows("ledger_balance")
        .into_iter()
        .map(|row| (row["account"].as_str().unwrap(), row["balance_minor"].as_i64().unwrap()))
        .collect();
    let of_one = [
        ("asset:bank", 100),
        ("asset:provider-clearing", 3 * 95 - 100),
        ("expense:provider-fees", 15),
        ("revenue", -300),
    ];
    assert_eq!(balances, [of_one, of_one].concat());
    assert_eq!(tables.rows("ledger_line").len(), 2 * (3 * 3 + 2));
    assert_eq!(tables.rows("ledger_day").len(), 2 * (3 + 4));
}

#[test]
fn every_entry_comes_to_nothing_in_each_currency() {
    let tables = shuffle_proof::<LedgerBalances>(events());
    let totals = tables.rows("ledger_entry_total");
    assert_eq!(totals.len(), 8);
    for row in totals {
        assert_eq!(row["debit_minor"].as_i64().unwrap() + row["credit_minor"].as_i64().unwrap(), 0);
    }
}

#[test]
fn days_are_those_of_posting() {
    let tables = shuffle_proof::<LedgerBalances>(events());
    let days: std::collections::BTreeSet<_> =
        tables.rows("ledger_day").into_iter().map(|row| row["day"].as_str().unwrap().to_owned()).collect();
    assert_eq!(days.into_iter().collect::<Vec<_>>(), ["1970-01-01", "1970-01-02"]);
}
