#![doc = include_str!("../README.md")]

pub mod accounts;
mod balances;
mod chain;
pub mod codes;
mod policy;

use accounts::ACCOUNTS;
use codes::*;
use daybook_consumer::{
    Aggregate, Context, Decision, Entity, Part, Rejection, State, acts_for, already, ensure, happened, reject,
};
use daybook_events::{
    EntryId, EntryLine, EntryPosted, EntrySource, JournalCommand, JournalEvent, Message, Money, PostEntry, ReverseEntry,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use balances::LedgerBalances;
pub use chain::{Chain, ChainError, FIRST_HASH, HASH_BYTES, entry_hash, unbalanced, verify_chain};
pub use policy::LedgerPolicy;

/// The fewest lines of an entry.
pub const LINES_MIN: usize = 2;
/// The most lines of an entry.
pub const LINES_MAX: usize = 20;
/// The longest memo or reason, in characters.
pub const MEMO_MAX_CHARS: usize = 200;

/// The parts of this leaf.
pub fn parts() -> Vec<Part> {
    vec![Part::aggregate::<Ledger>(), Part::policy::<LedgerPolicy>(), Part::projection::<LedgerBalances>()]
}

/// The aggregate: a journal per organization.
pub struct Ledger;

/// The end of a journal, to which the next entry is chained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// Number of the last entry; 0: there is none.
    pub entries: i64,
    /// Its hash.
    pub last_hash: [u8; HASH_BYTES],
}

impl State for Journal {}

/// What stands in the journal under an entry's id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    pub posted: Option<EntryPosted>,
    /// The entry that reverses it.
    pub reversed_by: Option<EntryId>,
}

impl State for Standing {}

type Decided = Result<Decision<JournalEvent>, Rejection>;

impl Aggregate for Ledger {
    const NAME: &'static str = "ledger";
    type Command = JournalCommand;
    type Event = JournalEvent;
    type State = Journal;
    type Part = Standing;

    fn command_parts(command: &JournalCommand) -> Vec<Uuid> {
        match command {
            JournalCommand::PostEntry(ask) => vec![ask.entry_id.uuid()],
            JournalCommand::ReverseEntry(ask) => vec![ask.entry_id.uuid(), ask.reversal_id.uuid()],
        }
    }

    fn event_parts(event: &JournalEvent) -> Vec<Uuid> {
        let JournalEvent::EntryPosted(entry) = event;
        std::iter::once(entry.entry_id).chain(entry.reverses).map(EntryId::uuid).collect()
    }

    fn decide(journal: &Entity<Self>, command: JournalCommand, cx: &Context) -> Decided {
        match command {
            JournalCommand::PostEntry(ask) => post(journal, ask, cx),
            JournalCommand::ReverseEntry(ask) => reverse(journal, ask, cx),
        }
    }

    fn evolve(journal: &mut Entity<Self>, event: &JournalEvent) {
        let JournalEvent::EntryPosted(entry) = event;
        journal.entries = entry.number;
        journal.last_hash = entry_hash(entry);
        journal.part_mut(entry.entry_id).posted = Some(entry.clone());
        if let Some(reversed) = entry.reverses {
            journal.part_mut(reversed).reversed_by = Some(entry.entry_id);
        }
    }
}

fn post(journal: &Entity<Ledger>, ask: PostEntry, cx: &Context) -> Decided {
    if let Some(posted) = &journal.part(ask.entry_id).posted {
        ensure!(posted.lines == ask.lines, ENTRY_DIFFERS);
        return already(posted.clone());
    }
    check_lines(&ask.lines)?;
    check_text("memo", &ask.memo)?;
    happened(chained(
        journal,
        EntryPosted {
            organization_id: ask.organization_id,
            entry_id: ask.entry_id,
            number: 0,
            lines: ask.lines,
            memo: ask.memo,
            source: ask.source,
            occurred_at: ask.occurred_at,
            posted_at: cx.now(),
            previous_hash: Vec::new(),
            hash: Vec::new(),
            reverses: None,
            requested_by: None,
            approved_by: None,
        },
    ))
}

fn reverse(journal: &Entity<Ledger>, ask: ReverseEntry, cx: &Context) -> Decided {
    ensure!(acts_for(cx, ask.organization_id), NOT_YOUR_ORGANIZATION);
    let checker = cx.actor().map(|actor| actor.id).filter(|checker| *checker != ask.requested_by.uuid());
    let Some(checker) = checker else { return reject(SECOND_PERSON_NEEDED) };
    let standing = journal.part(ask.entry_id);
    let Some(original) = &standing.posted else { return reject(ENTRY_UNKNOWN) };
    let reversal = journal.part(ask.reversal_id).posted.as_ref();
    match (standing.reversed_by, reversal) {
        (Some(id), Some(reversal)) if id == ask.reversal_id => return already(reversal.clone()),
        (Some(_), _) => return reject(ENTRY_REVERSED),
        (None, Some(_)) => return reject(ENTRY_DIFFERS),
        (None, None) => {}
    }
    check_text("reason", &ask.reason)?;
    happened(chained(
        journal,
        EntryPosted {
            organization_id: ask.organization_id,
            entry_id: ask.reversal_id,
            number: 0,
            lines: opposite(&original.lines)?,
            memo: ask.reason,
            source: EntrySource { message_id: cx.message_id, message_type: ReverseEntry::FULL_NAME.to_owned() },
            occurred_at: cx.now(),
            posted_at: cx.now(),
            previous_hash: Vec::new(),
            hash: Vec::new(),
            reverses: Some(ask.entry_id),
            requested_by: Some(ask.requested_by),
            approved_by: Some(checker.into()),
        },
    ))
}

/// The entry with its number and hashes: the next one of the journal.
fn chained(journal: &Journal, entry: EntryPosted) -> EntryPosted {
    let entry = EntryPosted { number: journal.entries + 1, previous_hash: journal.last_hash.to_vec(), ..entry };
    let hash = entry_hash(&entry).to_vec();
    EntryPosted { hash, ..entry }
}

fn check_lines(lines: &[EntryLine]) -> Result<(), Rejection> {
    let count = lines.len();
    ensure!((LINES_MIN..=LINES_MAX).contains(&count), ENTRY_INVALID, "it has {count} lines");
    ensure!(lines.iter().all(|line| ACCOUNTS.contains(&line.account.as_str())), ACCOUNT_UNKNOWN);
    ensure!(lines.iter().all(|line| !line.amount.is_zero()), ENTRY_INVALID, "a line moves nothing");
    if let Some(currency) = unbalanced(lines) {
        return Err(Rejection::with(ENTRY_UNBALANCED, format!("in {currency}")));
    }
    Ok(())
}

fn check_text(field: &str, text: &str) -> Result<(), Rejection> {
    let is_text = text.chars().count() <= MEMO_MAX_CHARS && !text.chars().any(char::is_control);
    ensure!(is_text, ENTRY_INVALID, "{field}");
    Ok(())
}

fn opposite(lines: &[EntryLine]) -> Result<Vec<EntryLine>, Rejection> {
    let opposite = |line: &EntryLine| -> Result<EntryLine, Rejection> {
        let amount: Money =
            line.amount.checked_neg().map_err(|_| Rejection::with(ENTRY_INVALID, "an amount is out of range"))?;
        Ok(EntryLine { account: line.account.clone(), amount })
    };
    lines.iter().map(opposite).collect()
}
