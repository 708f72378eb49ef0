//! `daybook ledger`

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use daybook_engine::SchemaLookup;
use daybook_events::{EntryPosted, HeaderRef, Message, OrganizationId, decode, unframe};
use daybook_log::{Log, Start};
use daybook_service::Section;
use ledger::{Chain, ChainError};
use serde_json::json;

use super::{Outcome, Place};
use crate::connect;
use crate::marks::Marks;
use crate::output::{self, Table, counted};

#[derive(clap::Subcommand)]
pub(crate) enum Arguments {
    /// Walk every journal in the book: each entry balances, follows the one before it and bears its own hash.
    Verify {
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
    },
}

/// What a walk along the book has found.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub(crate) journals: BTreeMap<OrganizationId, Chain>,
    /// The first thing that is wrong in each journal that has something wrong; the walk along it ends there.
    pub(crate) broken: BTreeMap<OrganizationId, ChainError>,
}

pub(crate) async fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    let Arguments::Verify { json } = arguments;
    let log = connect::log(&place.settings(&[Section::Log])?, 1)?;
    let verified = verify(&log).await?;
    if *json {
        output::json(&as_objects(&verified))?;
    } else {
        print(&verified)?;
    }
    Ok(Outcome::good_if(verified.broken.is_empty()))
}

/// Walks all journals from their beginning to the present end of the book.
///
/// # Errors
/// When the book cannot be read.
pub(crate) async fn verify(log: &Log) -> Result<Verified> {
    let mut verified = Verified::default();
    let mut marks = Marks::default();
    let mut tail = log.tail(EntryPosted::TOPIC, Start::Beginning, false).await?;
    while let Some(record) = tail.next().await? {
        let header = record.header.as_deref().and_then(|bytes| HeaderRef::decode(bytes).ok());
        let header = header.with_context(|| format!("a record of {} has no header", EntryPosted::TOPIC))?;
        if !marks.is_new(record.partition, header.shard.as_ref()) {
            continue;
        }
        let SchemaLookup::Known(writer) = &record.schema else {
            bail!("record {}@{} of {} has no schema", record.partition, record.offset, EntryPosted::TOPIC);
        };
        let (_, body) = unframe(record.value.as_deref().unwrap_or_default())?;
        verified.follow(&decode(writer, body)?);
    }
    Ok(verified)
}

impl Verified {
    fn follow(&mut self, entry: &EntryPosted) {
        let journal = entry.organization_id;
        if self.broken.contains_key(&journal) {
            return;
        }
        if let Err(error) = self.journals.entry(journal).or_default().follow(entry) {
            self.broken.insert(journal, error);
        }
    }

    /// Entries that were found good.
    pub(crate) fn entries(&self) -> i64 {
        self.journals.values().map(|chain| chain.entries).sum()
    }
}

fn as_objects(verified: &Verified) -> Vec<serde_json::Value> {
    let journal = |(organization, chain): (&OrganizationId, &Chain)| {
        let broken = verified.broken.get(organization).map(ToString::to_string);
        json!({ "organization_id": organization, "entries": chain.entries, "broken": broken })
    };
    verified.journals.iter().map(journal).collect()
}

fn print(verified: &Verified) -> Result<()> {
    let mut table = Table::new(&["organization", ">entries", "found"]);
    for (organization, chain) in &verified.journals {
        let found = verified.broken.get(organization).map_or_else(|| "good".to_owned(), ToString::to_string);
        table.row([organization.to_string(), chain.entries.to_string(), found]);
    }
    table.print("there are no entries")?;
    let (journals, broken) = (verified.journals.len(), verified.broken.len());
    output::line(&format!("{} verified, {broken} of them broken", counted(journals, "journal")))
}
