//! `daybook lag`

use anyhow::Result;
use daybook_engine::Spec;
use daybook_log::Log;
use daybook_service::Section;
use daybook_store::Store;
use serde::Serialize;

use super::{Outcome, Place};
use crate::output::{self, Table};
use crate::{connect, leaves};

/// What a part has before it: records of its topic that it has not applied. Read from its own tables and the ends of the topic.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only of these parts.
    part: Vec<String>,
    /// A line per partition.
    #[arg(long)]
    partitions: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct PartLag {
    part: &'static str,
    topic: &'static str,
    /// By partition; none where the part was never started, so that nobody can know.
    partitions: Option<Vec<PartitionLag>>,
}

#[derive(Serialize)]
struct PartitionLag {
    partition: u16,
    next: i64,
    end: i64,
    lag: i64,
    held: u64,
    parked: u64,
    unpublished: u64,
}

pub(crate) async fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    let settings = place.settings(&[Section::Log, Section::Store])?;
    let (log, store) = (connect::log(&settings, 1)?, connect::store(&settings).await?);
    let mut lags = Vec::new();
    for spec in leaves::specs_of(&arguments.part)? {
        lags.push(lag_of(&spec, &log, &store).await?);
    }
    if arguments.json {
        output::json(&lags)?;
    } else if arguments.partitions {
        by_partition(&lags)?;
    } else {
        by_part(&lags)?;
    }
    Ok(Outcome::Good)
}

/// Records that all parts together have before them; parts that were never started count for nothing.
///
/// # Errors
/// When brokers or database cannot be asked.
pub(crate) async fn total(log: &Log, store: &Store) -> Result<i64> {
    let mut total = 0;
    for spec in leaves::specs()? {
        let lag = lag_of(&spec, log, store).await?;
        total += lag.partitions.iter().flatten().map(|partition| partition.lag).sum::<i64>();
    }
    Ok(total)
}

async fn lag_of(spec: &Spec, log: &Log, store: &Store) -> Result<PartLag> {
    let views = connect::if_started(store.operator(spec.name)?.partitions().await)?;
    let Some(views) = views else {
        return Ok(PartLag { part: spec.name, topic: spec.input, partitions: None });
    };
    let ends = log.admin().all_ends(&[spec.input]).await?.concat();
    let partitions = views.iter().map(|view| {
        let end = ends.get(usize::from(view.partition)).copied().unwrap_or(view.next_data);
        PartitionLag {
            partition: view.partition,
            next: view.next_data,
            end,
            lag: (end - view.next_data).max(0),
            held: view.held,
            parked: view.parked,
            unpublished: view.out_seq.saturating_sub(view.published_seq),
        }
    });
    Ok(PartLag { part: spec.name, topic: spec.input, partitions: Some(partitions.collect()) })
}

fn by_part(lags: &[PartLag]) -> Result<()> {
    let mut table = Table::new(&["part", ">lag", ">held", ">parked", ">unpublished"]);
    for PartLag { part, partitions, .. } in lags {
        let numbers = match partitions {
            None => ["unknown", "", "", ""].map(str::to_owned),
            Some(partitions) => {
                let lag: i64 = partitions.iter().map(|partition| partition.lag).sum();
                let sum = |number: fn(&PartitionLag) -> u64| partitions.iter().map(number).sum::<u64>().to_string();
                [lag.to_string(), sum(|p| p.held), sum(|p| p.parked), sum(|p| p.unpublished)]
            }
        };
        table.row(std::iter::once((*part).to_owned()).chain(numbers));
    }
    table.print("there are no parts")
}

fn by_partition(lags: &[PartLag]) -> Result<()> {
    let mut table = Table::new(&["part", ">partition", ">next", ">end", ">lag", ">held", ">parked"]);
    for PartLag { part, partitions, .. } in lags {
        for partition in partitions.iter().flatten() {
            let PartitionLag { partition, next, end, lag, held, parked, .. } = partition;
            let numbers = [partition.to_string(), next.to_string(), end.to_string(), lag.to_string()];
            let waiting = [held.to_string(), parked.to_string()];
            table.row(std::iter::once((*part).to_owned()).chain(numbers).chain(waiting));
        }
    }
    table.print("no part was ever started")
}
