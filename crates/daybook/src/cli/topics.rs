//! `daybook topics`

use anyhow::Result;
use daybook_log::{Difference, Log, TopicPlan, plan};
use daybook_service::Section;
use serde_json::json;

use super::{Outcome, Place};
use crate::output::{self, Table, counted};
use crate::{connect, leaves};

#[derive(clap::Subcommand)]
pub(crate) enum Arguments {
    /// Create those that are missing; those that exist stay as they are.
    Apply {
        /// Copies of each partition: 3 in production.
        #[arg(long, default_value_t = 1)]
        replication: u16,
        /// Only tell what would be created.
        #[arg(long)]
        dry_run: bool,
    },
    /// Tell in what they differ from the contract; fails where they do.
    Diff {
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    let settings = place.settings(&[Section::Log])?;
    match arguments {
        Arguments::Apply { replication, dry_run: false } => {
            let log = connect::log(&settings, *replication)?;
            for topic in log.admin().apply(&planned()?).await? {
                output::line(&format!("created {topic}"))?;
            }
            output::line(&format!("{} in place", counted(planned()?.len(), "topic")))?;
            Ok(Outcome::Good)
        }
        Arguments::Apply { dry_run: true, .. } => show(&*connect::log(&settings, 1)?, false).await,
        Arguments::Diff { json } => show(&*connect::log(&settings, 1)?, *json).await,
    }
}

/// Every topic that there must be.
///
/// # Errors
/// When a leaf cannot be looked at.
pub(crate) fn planned() -> Result<Vec<TopicPlan>> {
    Ok(plan(&leaves::specs()?))
}

async fn show(log: &Log, as_json: bool) -> Result<Outcome> {
    let plan = planned()?;
    let differences = log.admin().diff(&plan).await?;
    if as_json {
        output::json(&differences.iter().map(as_object).collect::<Vec<_>>())?;
    } else {
        let mut table = Table::new(&["topic", "what is wrong"]);
        for difference in &differences {
            match difference {
                Difference::Missing { topic } => table.row([topic.as_str(), "missing: daybook topics apply"]),
                Difference::Partitions { topic, expected, found } => {
                    table.row([topic.clone(), format!("{found} partitions, not {expected}: copy it")]);
                }
            }
        }
        table.print(&format!("{} as in the contract", counted(plan.len(), "topic")))?;
    }
    Ok(Outcome::good_if(differences.is_empty()))
}

fn as_object(difference: &Difference) -> serde_json::Value {
    match difference {
        Difference::Missing { topic } => json!({ "topic": topic, "difference": "missing" }),
        Difference::Partitions { topic, expected, found } => {
            json!({ "topic": topic, "difference": "partitions", "expected": expected, "found": found })
        }
    }
}
