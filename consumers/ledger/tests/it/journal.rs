//! The aggregate, and the chain of hashes that it makes.

use daybook_consumer::ANY_ORGANIZATION;
use daybook_consumer::testing::{Bench, given};
use daybook_events::{EntryId, EntryPosted, Money, PostEntry, ReverseEntry, Timestamp};
use ledger::codes::*;
use ledger::{Chain, ChainError, LINES_MAX, Ledger, entry_hash, verify_chain};

use crate::{CHECKER, ENTRY, MAKER, ORGANIZATION, line, payout, post, posted};

const REVERSAL: EntryId = EntryId::from_u128(20);
const NOW: Timestamp = Timestamp(1_000);

fn reverse() -> ReverseEntry {
    ReverseEntry {
        organization_id: ORGANIZATION,
        entry_id: ENTRY,
        reversal_id: REVERSAL,
        requested_by: MAKER,
        reason: "posted twice".to_owned(),
    }
}

#[test]
fn an_entry_is_posted_once_with_number_and_hashes() {
    let first = posted(&payout(), None, NOW);
    let second_ask = PostEntry { entry_id: EntryId::from_u128(21), ..payout() };
    let second = posted(&second_ask, Some(&first), NOW);
    given::<Ledger>([])
        .at(NOW)
        .when(payout())
        .then([first.clone().into()])
        .when(payout())
        .then_already(first.clone())
        .when(post(vec![line("asset:bank", 99), line("asset:provider-clearing", -99)]))
        .then_rejected(ENTRY_DIFFERS)
        .when(second_ask)
        .then([second.into()]);
}

#[test]
fn what_does_not_balance_in_each_currency_is_refused() {
    let mut euro = line("asset:provider-clearing", -100);
    euro.amount = Money::new(-100, "EUR".parse().unwrap());
    for lines in [
        vec![line("asset:bank", 100), line("revenue", -99)],
        vec![line("asset:bank", 100), euro],
        vec![line("asset:bank", i64::MAX), line("revenue", i64::MAX), line("revenue", 2)],
    ] {
        given::<Ledger>([]).when(post(lines)).then_rejected(ENTRY_UNBALANCED);
    }
}

#[test]
fn an_entry_must_make_sense() {
    let many = (0..=LINES_MAX).map(|_| line("asset:bank", 1)).collect();
    for lines in [vec![], vec![line("asset:bank", 0)], many, vec![line("asset:bank", 0), line("revenue", 0)]] {
        given::<Ledger>([]).when(post(lines)).then_rejected(ENTRY_INVALID);
    }
    let other = vec![line("asset:pocket", 1), line("revenue", -1)];
    given::<Ledger>([]).when(post(other)).then_rejected(ACCOUNT_UNKNOWN);
    given::<Ledger>([]).when(PostEntry { memo: "a\0b".to_owned(), ..payout() }).then_rejected(ENTRY_INVALID);
}

#[test]
fn a_reversal_needs_two_people_and_happens_once() {
    let first = posted(&payout(), None, NOW);
    let books = || given::<Ledger>([first.clone().into()]).at(NOW).tenant(ORGANIZATION);
    books().when(reverse()).then_rejected(SECOND_PERSON_NEEDED);
    books().actor(MAKER, "finance:write").when(reverse()).then_rejected(SECOND_PERSON_NEEDED);
    let elsewhere = given::<Ledger>([first.clone().into()]).tenant(EntryId::from_u128(9));
    elsewhere.actor(CHECKER, "").when(reverse()).then_rejected(NOT_YOUR_ORGANIZATION);

    let (events, after) = books().actor(CHECKER, "").when(reverse()).happened();
    let [daybook_events::JournalEvent::EntryPosted(reversal)] = &events[..] else { panic!("one entry") };
    assert_eq!(reversal.lines, [line("asset:bank", -100), line("asset:provider-clearing", 100)]);
    assert_eq!((reversal.reverses, reversal.requested_by), (Some(ENTRY), Some(MAKER)));
    assert_eq!(reversal.approved_by, Some(CHECKER));
    assert_eq!(verify_chain([&first, reversal]).unwrap().entries, 2);
    after
        .when(reverse())
        .then_already(reversal.clone())
        .when(ReverseEntry { reversal_id: EntryId::from_u128(22), ..reverse() })
        .then_rejected(ENTRY_REVERSED);
}

#[test]
fn a_reversal_is_of_an_entry_that_is_there_under_an_id_that_is_free() {
    let staff = || given::<Ledger>([]).actor(CHECKER, ANY_ORGANIZATION);
    staff().when(reverse()).then_rejected(ENTRY_UNKNOWN);
    let first = posted(&payout(), None, NOW);
    let second = posted(&PostEntry { entry_id: REVERSAL, ..payout() }, Some(&first), NOW);
    given::<Ledger>([first.into(), second.into()])
        .actor(CHECKER, ANY_ORGANIZATION)
        .when(reverse())
        .then_rejected(ENTRY_DIFFERS);
}

#[test]
fn each_entry_is_a_row_and_the_journal_stays_small() {
    let mut bench = Bench::new(&ledger::parts()[0]);
    for number in 1..=3 {
        let ask = PostEntry { entry_id: EntryId::from_u128(100 + number), ..payout() };
        let handled = bench.send(&ask).unwrap();
        assert_eq!(handled.events::<EntryPosted>(), handled.replies::<EntryPosted>());
    }
    assert_eq!(bench.row_count(), 4, "a row for each entry, one for the journal");
}

fn chain_of(count: u128) -> Vec<EntryPosted> {
    let mut entries: Vec<EntryPosted> = Vec::new();
    for number in 0..count {
        let ask = PostEntry { entry_id: EntryId::from_u128(100 + number), ..payout() };
        entries.push(posted(&ask, entries.last(), NOW));
    }
    entries
}

#[test]
fn a_walk_along_the_chain_finds_whatever_was_done_to_it() {
    let good = chain_of(4);
    let chain = verify_chain(&good).unwrap();
    assert_eq!((chain.entries, chain.last_hash.to_vec()), (4, good[3].hash.clone()));
    assert_eq!(verify_chain([]), Ok(Chain::default()));

    let mut missing = good.clone();
    missing.remove(1);
    assert_eq!(verify_chain(&missing), Err(ChainError::Number { number: 2, found: 3 }));

    let mut changed = good.clone();
    changed[2].memo = "another".to_owned();
    assert_eq!(verify_chain(&changed), Err(ChainError::Hash { number: 3 }));

    // Changed with a hash that fits: then the next one no longer does.
    changed[2].hash = entry_hash(&changed[2]).to_vec();
    assert_eq!(verify_chain(&changed), Err(ChainError::PreviousHash { number: 4 }));

    let mut unbalanced = good.clone();
    unbalanced[3].lines[0].amount.amount_minor += 1;
    unbalanced[3].hash = entry_hash(&unbalanced[3]).to_vec();
    assert!(matches!(verify_chain(&unbalanced), Err(ChainError::Unbalanced { number: 4, .. })));

    let mut other = good;
    other[1].organization_id = daybook_events::OrganizationId::from_u128(9);
    assert_eq!(verify_chain(&other), Err(ChainError::OtherJournal { number: 2 }));
}

/// The hash of this entry was computed from the description of the canonical form by other means.
#[test]
fn the_canonical_form_never_changes() {
    let entry = posted(&payout(), None, Timestamp(7));
    let hash: String = entry_hash(&entry).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, "891668c93a8244867642e2415eea0ccbe6fb9b5ec6bf84d5635f322f9735026a");
}
