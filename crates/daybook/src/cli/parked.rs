//! `daybook parked`

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daybook_engine::Spec;
use daybook_events::{DiscardParked, RedriveParked, Timestamp, key};
use daybook_service::Section;
use daybook_store::{LIST_MAX, Operator, ParkedFilter, ParkedView, Store};
use serde_json::json;
use uuid::Uuid;

use super::{Outcome, Place};
use crate::action::{By, Desk, Item, Order, key_in};
use crate::output::{self, Table};
use crate::{connect, leaves};

#[derive(clap::Subcommand)]
pub(crate) enum Arguments {
    /// List parked records, the oldest first.
    Ls {
        /// Only of these parts.
        part: Vec<String>,
        /// Only those parked under this code.
        #[arg(long)]
        code: Option<String>,
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Show one with its bytes, in base64.
    Show { part: String, id: Uuid },
    /// Take records up again, and then what is held behind them.
    Redrive {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        by: By,
    },
    /// Give records up, and go on with what is held behind them. Who awaits a reply is told.
    Discard {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        by: By,
    },
}

/// Which parked records: by their ids, or all that a filter finds.
#[derive(clap::Args)]
pub(crate) struct Which {
    /// The part that has parked them; with a filter it may be left out, and every part is meant.
    part: Option<String>,
    /// Their ids.
    #[arg(conflicts_with_all = ["all", "code", "before"])]
    id: Vec<Uuid>,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// All that were parked under this code.
    #[arg(long)]
    code: Option<String>,
    /// All that were parked before this time, such as 2026-03-01T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    before: Option<Timestamp>,
}

/// A parked record, and whose it is.
struct Target {
    spec: Spec,
    id: Uuid,
    record: Option<ParkedView>,
}

pub(crate) async fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    match arguments {
        Arguments::Ls { part, code, json } => {
            let store = connect::store(&place.settings(&[Section::Store])?).await?;
            list(&store, part, code.as_deref(), *json).await
        }
        Arguments::Show { part, id } => {
            let store = connect::store(&place.settings(&[Section::Store])?).await?;
            let found = store.operator(leaves::spec(part)?.name)?.parked_one(*id).await;
            let record = connect::if_started(found)?.flatten();
            output::json(&record.with_context(|| format!("{part} has parked no record {id}"))?)?;
            Ok(Outcome::Good)
        }
        Arguments::Redrive { which, by } => {
            let order = |spec: &Spec, record: &ParkedView, key: Vec<u8>| {
                let (key_text, parked_id) = (key::to_text(&key).into_owned(), record.id);
                let message = RedriveParked { key_text, parked_id, actor_id: by.actor_id(), reason: by.reason() };
                Order::of(&spec.control, key, &message)
            };
            act(place, which, by, "redrive", order).await
        }
        Arguments::Discard { which, by } => {
            let order = |spec: &Spec, record: &ParkedView, key: Vec<u8>| {
                let (key_text, parked_id) = (key::to_text(&key).into_owned(), record.id);
                let message = DiscardParked { key_text, parked_id, actor_id: by.actor_id(), reason: by.reason() };
                Order::of(&spec.control, key, &message)
            };
            act(place, which, by, "discard", order).await
        }
    }
}

async fn list(store: &Store, parts: &[String], code: Option<&str>, as_json: bool) -> Result<Outcome> {
    let mut found = Vec::new();
    for spec in leaves::specs_of(parts)? {
        let operator = store.operator(spec.name)?;
        for record in connect::if_started(all(&operator, code).await)?.unwrap_or_default() {
            found.push((spec.name, record));
        }
    }
    if as_json {
        let items = found.iter().map(|(part, record)| json!({ "part": part, "record": record }));
        output::json(&items.collect::<Vec<_>>())?;
        return Ok(Outcome::Good);
    }
    let mut table = Table::new(&["id", "part", "code", ">tries", "where"]);
    for (part, record) in &found {
        let position = format!("{}/{}@{}", record.stream, record.partition, record.offset);
        table.row([
            record.id.to_string(),
            (*part).to_owned(),
            record.code.clone(),
            record.attempts.to_string(),
            position,
        ]);
    }
    table.print("nothing is parked")?;
    Ok(Outcome::Good)
}

/// Every parked record, page by page.
async fn all(operator: &Operator, code: Option<&str>) -> Result<Vec<ParkedView>, daybook_store::Error> {
    let mut found: Vec<ParkedView> = Vec::new();
    loop {
        let after = found.last().map(|record| (record.parked_at, record.id));
        let filter = ParkedFilter { code: code.map(str::to_owned), after, limit: LIST_MAX, ..ParkedFilter::default() };
        let page = operator.parked(&filter).await?;
        let is_last = page.len() < LIST_MAX as usize;
        found.extend(page);
        if is_last {
            return Ok(found);
        }
    }
}

async fn act(
    place: &Place,
    which: &Which,
    by: &By,
    verb: &str,
    order: impl Fn(&Spec, &ParkedView, Vec<u8>) -> Result<Order>,
) -> Result<Outcome> {
    let settings = place.settings(&[Section::Log, Section::Store])?;
    let store = connect::store(&settings).await?;
    let targets = which.targets(&store).await?;
    if which.is_filter() && !targets.is_empty() {
        by.confirm(&format!("{verb} {} parked records", targets.len()))?;
    }
    let item = async |target: &Target| {
        let record = target.record.as_ref().with_context(|| format!("{} has not parked it", target.spec.name));
        Item { target: target.id, order: record.and_then(|record| order(&target.spec, record, key_for(record)?)) }
    };
    Desk::open(connect::log(&settings, 1)?).await?.carry_out(by, targets, item).await
}

impl Which {
    fn is_filter(&self) -> bool {
        self.all || self.code.is_some() || self.before.is_some()
    }

    async fn targets(&self, store: &Store) -> Result<Vec<Target>> {
        if !self.is_filter() && (self.part.is_none() || self.id.is_empty()) {
            bail!(
                "name a part and the ids of its records, or a filter: --all, --code, --before; `daybook parked ls` lists them"
            );
        }
        let mut targets = Vec::new();
        for spec in leaves::specs_of(self.part.as_slice())? {
            let parked = connect::if_started(all(&store.operator(spec.name)?, self.code.as_deref()).await)?;
            let parked = parked.unwrap_or_default();
            if self.is_filter() {
                let is_meant = |record: &ParkedView| self.before.is_none_or(|before| record.parked_at < before);
                let found = parked.into_iter().filter(is_meant);
                targets.extend(found.map(|record| Target { spec: spec.clone(), id: record.id, record: Some(record) }));
            } else {
                let record = |id: &Uuid| parked.iter().find(|record| record.id == *id).cloned();
                targets.extend(self.id.iter().map(|id| Target { spec: spec.clone(), id: *id, record: record(id) }));
            }
        }
        Ok(targets)
    }
}

/// A key by which the partition is reached that has parked the record.
fn key_for(record: &ParkedView) -> Result<Vec<u8>> {
    let own = record.key.as_deref().map(|key| STANDARD.decode(key)).transpose()?;
    Ok(key_in(record.partition, own))
}
