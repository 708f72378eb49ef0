//! `daybook recover`

use anyhow::{Context, Result};
use daybook_driver::{RecoveryTask, recover_part};
use daybook_engine::Recovered;
use daybook_log::subjects;
use daybook_service::Section;
use serde_json::json;

use super::{Outcome, Place, topics};
use crate::connect;
use crate::leaves::{self, Means};
use crate::output::{self, Table};

/// Brings a part whose database was restored to an earlier time up to what it has published since. Nothing may run the part
/// meanwhile, and the release must be the one that ran when it was published.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    part: String,
    /// Do everything, tell what was done, and keep nothing of it.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    let Arguments { part, dry_run, json } = arguments;
    let spec = leaves::spec(part)?;
    let settings = place.settings(&[Section::Log, Section::Store])?;
    let (log, store) = (connect::log(&settings, 1)?, connect::store(&settings).await?);
    let leaf = leaf(spec.name)?;
    let plan = topics::planned()?;
    let planned: Vec<String> = plan.iter().map(|topic| topic.name.clone()).collect();
    if !json {
        output::line(&format!("reading {} topics for what {part} has published", planned.len()))?;
    }
    log.registry().register(&subjects(&plan)).await?;
    let task = RecoveryTask { leaf, topics: &planned, dry_run: *dry_run };
    let recovered = recover_part(&task, &log, &store).await?;
    tell(part, &recovered, *dry_run, *json)?;
    Ok(Outcome::Good)
}

/// The part's pure half: its effects are not performed.
fn leaf(part: &str) -> Result<std::sync::Arc<dyn daybook_engine::Leaf>> {
    for leaf in leaves::LEAVES {
        for found in leaf.parts(&Means::Described)? {
            if found.leaf.spec().name == part {
                return Ok(found.leaf);
            }
        }
    }
    None.with_context(|| format!("there is no part named {part}"))
}

fn tell(part: &str, recovered: &[Recovered], dry_run: bool, as_json: bool) -> Result<()> {
    if as_json {
        return output::json(&json!({ "part": part, "dry_run": dry_run, "partitions": recovered }));
    }
    let mut table = Table::new(&[
        ">partition",
        ">known",
        ">highest",
        ">arrived at again",
        ">made anew",
        ">records",
        ">passed over",
        ">incarnation",
    ]);
    for done in recovered {
        let numbers = [done.known, done.highest, done.reproduced, done.made_anew, done.records, done.passed_over];
        let columns = std::iter::once(done.partition.to_string()).chain(numbers.map(|number| number.to_string()));
        table.row(columns.chain([done.incarnation.to_string()]));
    }
    table.print("no partition is behind the book")?;
    if dry_run {
        output::line("nothing was kept of it; leave out --dry-run to do it")?;
    }
    Ok(())
}
