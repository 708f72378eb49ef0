//! What the journals come to: balances, statements, trial balances.

use daybook_consumer::{
    Access, Answer, Change, Columns, Meta, Owned, Parameter, ParameterKind, Projection, ReadRoute, Row, RowTime,
    TableOf, put,
};
use daybook_events::{EntryId, EntryLine, EntryPosted, JournalEvent, OrganizationId, Timestamp};
use serde::Serialize;

/// The projection. All its rows belong to the organization, whose journal is one key.
pub struct LedgerBalances;

const PAGE_MAX: u32 = 500;

/// What an account has come to.
#[derive(Debug, Serialize)]
struct BalanceRow {
    organization_id: OrganizationId,
    account: String,
    currency: String,
    balance_minor: i64,
    lines: i64,
}

impl Row for BalanceRow {
    const TABLE: &'static str = "ledger_balance";
    type Kind = Owned;

    fn columns() -> Columns<Owned> {
        Columns::key("organization_id", "uuid")
            .and_key("account", "text")
            .and_key("currency", "text")
            .add("balance_minor", "bigint")
            .add("lines", "bigint")
    }
}

/// How an account has moved on a day, so that a trial balance need not add up every line there ever was.
#[derive(Debug, Serialize)]
struct DayRow {
    organization_id: OrganizationId,
    /// Of the posting, in UTC: a past day never changes any more.
    day: String,
    account: String,
    currency: String,
    moved_minor: i64,
}

impl Row for DayRow {
    const TABLE: &'static str = "ledger_day";
    type Kind = Owned;

    fn columns() -> Columns<Owned> {
        Columns::key("organization_id", "uuid")
            .and_key("day", "date")
            .and_key("account", "text")
            .and_key("currency", "text")
            .add("moved_minor", "bigint")
    }
}

/// A line of an entry, as it stands in the journal.
#[derive(Debug, Serialize)]
struct LineRow {
    organization_id: OrganizationId,
    number: i64,
    line: i64,
    entry_id: EntryId,
    account: String,
    currency: String,
    amount_minor: i64,
    memo: String,
    source_type: String,
    reverses: Option<EntryId>,
    occurred_at: RowTime,
    posted_at: RowTime,
}

impl Row for LineRow {
    const TABLE: &'static str = "ledger_line";
    type Kind = Owned;

    fn columns() -> Columns<Owned> {
        Columns::key("organization_id", "uuid")
            .and_key("number", "bigint")
            .and_key("line", "bigint")
            .once("entry_id", "uuid")
            .once("account", "text")
            .once("currency", "text")
            .once("amount_minor", "bigint")
            .once("memo", "text")
            .once("source_type", "text")
            .once("reverses", "uuid")
            .once("occurred_at", "timestamptz")
            .once("posted_at", "timestamptz")
            .index("organization_id, account, number, line")
    }
}

/// What an entry comes to in a currency; always nothing. The row on which the database can check that.
#[derive(Debug, Serialize)]
struct EntryTotalRow {
    organization_id: OrganizationId,
    number: i64,
    currency: String,
    debit_minor: i64,
    credit_minor: i64,
}

impl Row for EntryTotalRow {
    const TABLE: &'static str = "ledger_entry_total";
    type Kind = Owned;

    fn columns() -> Columns<Owned> {
        Columns::key("organization_id", "uuid")
            .and_key("number", "bigint")
            .and_key("currency", "text")
            .add("debit_minor", "bigint")
            .add("credit_minor", "bigint")
            .check("debit_minor + credit_minor = 0")
    }
}

impl Projection for LedgerBalances {
    const NAME: &'static str = "ledger-balances";
    type Event = JournalEvent;

    fn tables() -> Vec<TableOf> {
        vec![
            TableOf::rows::<BalanceRow>(),
            TableOf::rows::<DayRow>(),
            TableOf::rows::<LineRow>(),
            TableOf::rows::<EntryTotalRow>(),
        ]
    }

    fn project(event: &JournalEvent, _meta: &Meta<'_>) -> Vec<Change> {
        let JournalEvent::EntryPosted(entry) = event;
        (1..).zip(&entry.lines).flat_map(|(place, line)| line_changes(entry, place, line)).collect()
    }

    fn routes() -> Vec<ReadRoute> {
        vec![balances(), trial_balance(), statement()]
    }
}

fn line_changes(entry: &EntryPosted, place: i64, line: &EntryLine) -> [Change; 4] {
    let organization_id = entry.organization_id;
    let account = || line.account.clone();
    let currency = || line.amount.currency.to_string();
    let amount_minor = line.amount.amount_minor;
    [
        put(&BalanceRow {
            organization_id,
            account: account(),
            currency: currency(),
            balance_minor: amount_minor,
            lines: 1,
        }),
        put(&DayRow {
            organization_id,
            day: day(entry.posted_at),
            account: account(),
            currency: currency(),
            moved_minor: amount_minor,
        }),
        put(&LineRow {
            organization_id,
            number: entry.number,
            line: place,
            entry_id: entry.entry_id,
            account: account(),
            currency: currency(),
            amount_minor,
            memo: entry.memo.clone(),
            source_type: entry.source.message_type.clone(),
            reverses: entry.reverses,
            occurred_at: RowTime(entry.occurred_at),
            posted_at: RowTime(entry.posted_at),
        }),
        put(&EntryTotalRow {
            organization_id,
            number: entry.number,
            currency: currency(),
            debit_minor: amount_minor.max(0),
            credit_minor: amount_minor.min(0),
        }),
    ]
}

/// `2026-11-21`: the first part of the RFC 3339 form.
fn day(time: Timestamp) -> String {
    let text = time.to_string();
    text.split('T').next().unwrap_or(&text).to_owned()
}

fn of_own_organization() -> Access {
    Access::Owner { parameter: "organization_id", claim: "org", own: "finance:read", any: "finance:read-any" }
}

fn by_account() -> Answer {
    Answer::Many {
        cursor: vec![("account", ParameterKind::Text), ("currency", ParameterKind::Text)],
        page_max: PAGE_MAX,
    }
}

fn balances() -> ReadRoute {
    ReadRoute {
        path: "/organizations/{organization_id}/ledger/balances",
        summary: "What each account of an organization has come to; debits are positive.",
        projection: LedgerBalances::NAME,
        sql: BALANCES,
        parameters: vec![Parameter::path("organization_id", ParameterKind::Uuid)],
        answer: by_account(),
        access: of_own_organization(),
    }
}

fn trial_balance() -> ReadRoute {
    ReadRoute {
        path: "/organizations/{organization_id}/ledger/trial-balance",
        summary: "What each account had come to at the end of a day (UTC, by the time of posting); today, if none is given.",
        projection: LedgerBalances::NAME,
        sql: TRIAL_BALANCE,
        parameters: vec![
            Parameter::path("organization_id", ParameterKind::Uuid),
            Parameter::query("at", ParameterKind::Time),
        ],
        answer: by_account(),
        access: of_own_organization(),
    }
}

fn statement() -> ReadRoute {
    ReadRoute {
        path: "/organizations/{organization_id}/ledger/accounts/{account}/statement",
        summary: "Every line of an account, in the order of the journal.",
        projection: LedgerBalances::NAME,
        sql: STATEMENT,
        parameters: vec![
            Parameter::path("organization_id", ParameterKind::Uuid),
            Parameter::path("account", ParameterKind::Text),
        ],
        answer: Answer::Many {
            cursor: vec![("number", ParameterKind::Integer), ("line", ParameterKind::Integer)],
            page_max: PAGE_MAX,
        },
        access: of_own_organization(),
    }
}

const BALANCES: &str = "\
SELECT account, currency, balance_minor, lines
FROM ledger_balance
WHERE organization_id = $1
  AND ($2::text IS NULL OR (account, currency) > ($2, $3::text))
ORDER BY account, currency
LIMIT $4::bigint";

const TRIAL_BALANCE: &str = "\
SELECT account, currency, sum(moved_minor)::bigint AS balance_minor,
       greatest(sum(moved_minor), 0)::bigint AS debit_minor,
       greatest(-sum(moved_minor), 0)::bigint AS credit_minor
FROM ledger_day
WHERE organization_id = $1
  AND ($2::timestamptz IS NULL OR day <= ($2 AT TIME ZONE 'UTC')::date)
  AND ($3::text IS NULL OR (account, currency) > ($3, $4::text))
GROUP BY account, currency
ORDER BY account, currency
LIMIT $5::bigint";

const STATEMENT: &str = "\
SELECT number, line, entry_id, amount_minor, currency, memo, source_type, reverses, occurred_at, posted_at
FROM ledger_line
WHERE organization_id = $1 AND account = $2
  AND ($3::bigint IS NULL OR (number, line) > ($3, $4::bigint))
ORDER BY number, line
LIMIT $5::bigint";
