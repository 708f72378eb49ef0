//! `daybook effects`

use std::path::PathBuf;

use anyhow::{Context, Result};
use daybook_events::{ResolveEffect, key};
use daybook_service::Section;
use daybook_store::Store;
use serde_json::json;
use uuid::Uuid;

use super::{Outcome, Place};
use crate::action::{By, Desk, Item, Order, key_in};
use crate::output::{self, Table};
use crate::{connect, leaves};

#[derive(clap::Subcommand)]
pub(crate) enum Arguments {
    /// List effects without an outcome, the oldest first.
    Ls {
        /// Only of these parts.
        part: Vec<String>,
        /// Only those that need somebody's attention.
        #[arg(long)]
        attention: bool,
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Tell what became of a call whose outcome is unknown.
    Resolve {
        part: String,
        id: Uuid,
        /// It happened; the file holds the answer as the adapter would have read it, in JSON.
        #[arg(long, value_name = "FILE", required_unless_present = "did_not_happen")]
        happened: Option<PathBuf>,
        /// It is known not to have happened.
        #[arg(long, conflicts_with = "happened")]
        did_not_happen: bool,
        /// Where that is to be seen, such as the provider's id.
        #[arg(long, value_name = "TEXT")]
        evidence: String,
        #[command(flatten)]
        by: By,
    },
}

pub(crate) async fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    match arguments {
        Arguments::Ls { part, attention, json } => {
            let store = connect::store(&place.settings(&[Section::Store])?).await?;
            list(&store, part, *attention, *json).await
        }
        Arguments::Resolve { part, id, happened, evidence, by, .. } => {
            let settings = place.settings(&[Section::Log, Section::Store])?;
            let spec = leaves::spec(part)?;
            let store = connect::store(&settings).await?;
            let open = connect::if_started(store.operator(spec.name)?.intents().await)?.unwrap_or_default();
            let intent = open.iter().find(|intent| intent.id == *id);
            let intent = intent.with_context(|| format!("{part} has no open effect {id}"))?;
            let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
            let outcome = happened.as_ref().map(read).transpose()?;
            let key = key_in(intent.partition, Some(key::of(intent.key).to_vec()));
            let message = ResolveEffect {
                key_text: key::to_text(&key).into_owned(),
                intent_id: *id,
                happened: outcome.is_some(),
                evidence: evidence.clone(),
                outcome,
                actor_id: by.actor_id(),
                reason: by.reason(),
            };
            let item = async |id: &Uuid| Item { target: *id, order: Order::of(&spec.control, key.clone(), &message) };
            Desk::open(connect::log(&settings, 1)?).await?.carry_out(by, vec![*id], item).await
        }
    }
}

async fn list(store: &Store, parts: &[String], attention_only: bool, as_json: bool) -> Result<Outcome> {
    let mut found = Vec::new();
    for spec in leaves::specs_of(parts)?.iter().filter(|spec| spec.effects.is_some()) {
        let open = connect::if_started(store.operator(spec.name)?.intents().await)?.unwrap_or_default();
        let is_shown = |status: &str| !attention_only || status == "needs-attention";
        found.extend(open.into_iter().filter(|intent| is_shown(&intent.status)).map(|intent| (spec.name, intent)));
    }
    if as_json {
        let items = found.iter().map(|(part, intent)| json!({ "part": part, "effect": intent }));
        output::json(&items.collect::<Vec<_>>())?;
        return Ok(Outcome::Good);
    }
    let mut table = Table::new(&["id", "part", ">tries", "status", "code"]);
    for (part, intent) in &found {
        let code = intent.code.clone().unwrap_or_default();
        table.row([
            intent.id.to_string(),
            (*part).to_owned(),
            intent.attempts.to_string(),
            intent.status.clone(),
            code,
        ]);
    }
    table.print("every effect has an outcome")?;
    Ok(Outcome::Good)
}
