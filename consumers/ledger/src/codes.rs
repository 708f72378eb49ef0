//! Why a command to a journal is refused.

daybook_consumer::codes! {
    /// The lines of an entry sum to zero in each currency. Correct the amounts.
    ENTRY_UNBALANCED = "entry-unbalanced";
    /// An entry has two to twenty lines, each with an amount other than zero; the detail tells what is wrong.
    ENTRY_INVALID = "entry-invalid";
    /// There is no such account. The chart of accounts is fixed; see the ledger's README.
    ACCOUNT_UNKNOWN = "account-unknown";
    /// Another entry stands in the journal under this id. Entries are never changed: reverse it, and post under a new id.
    ENTRY_DIFFERS = "entry-differs";
    /// There is no entry with this id in the journal. Check the id and the organization.
    ENTRY_UNKNOWN = "entry-unknown";
    /// The entry is reversed already, by another reversal.
    ENTRY_REVERSED = "entry-reversed";
    /// A reversal is asked for by one person and made so by another. Have somebody else approve it.
    SECOND_PERSON_NEEDED = "second-person-needed";
    /// The journal belongs to another organization.
    NOT_YOUR_ORGANIZATION = "not-your-organization";
}
