//! Given what happened, when asked, then what happens.

mod balances;
mod journal;
mod posting;

use daybook_events::{
    Currency, EntryId, EntryLine, EntryPosted, EntrySource, Money, OrganizationId, PersonId, PostEntry, Timestamp,
};
use ledger::{FIRST_HASH, entry_hash};
use uuid::Uuid;

const ORGANIZATION: OrganizationId = OrganizationId::from_u128(1);
const ENTRY: EntryId = EntryId::from_u128(2);
const MAKER: PersonId = PersonId::from_u128(3);
const CHECKER: PersonId = PersonId::from_u128(4);

fn line(account: &str, amount_minor: i64) -> EntryLine {
    EntryLine { account: account.to_owned(), amount: Money::new(amount_minor, Currency::USD) }
}

fn post(lines: Vec<EntryLine>) -> PostEntry {
    PostEntry {
        organization_id: ORGANIZATION,
        entry_id: ENTRY,
        lines,
        memo: "payout".to_owned(),
        source: EntrySource { message_id: Uuid::from_u128(5), message_type: "daybook.test.Fact".to_owned() },
        occurred_at: Timestamp(6),
    }
}

fn payout() -> PostEntry {
    post(vec![line("asset:bank", 100), line("asset:provider-clearing", -100)])
}

/// The entry that the command leads to, after this one.
fn posted(ask: &PostEntry, after: Option<&EntryPosted>, at: Timestamp) -> EntryPosted {
    let mut entry = EntryPosted {
        organization_id: ask.organization_id,
        entry_id: ask.entry_id,
        number: after.map_or(1, |entry| entry.number + 1),
        lines: ask.lines.clone(),
        memo: ask.memo.clone(),
        source: ask.source.clone(),
        occurred_at: ask.occurred_at,
        posted_at: at,
        previous_hash: after.map_or(FIRST_HASH.to_vec(), |entry| entry.hash.clone()),
        hash: Vec::new(),
        reverses: None,
        requested_by: None,
        approved_by: None,
    };
    entry.hash = entry_hash(&entry).to_vec();
    entry
}
