//! What an operator does: records on a part's control topic, and what came of them, told by `OperatorActed` in the book.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use daybook_engine::{PARTITIONS, Record, SchemaLookup};
use daybook_events::{Actor, Header, HeaderRef, Message, OperatorActed, PersonId, Timestamp, decode, key, unframe};
use daybook_log::{Log, Request, Requests, Start, Tail, subjects};
use daybook_service::{Clock, SystemClock, ids};
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::cli::Outcome;
use crate::leaves;
use crate::output::{self, Table};

/// How long one record may take to be acknowledged.
pub const PUBLISH_LIMIT: Duration = Duration::from_secs(10);
/// How many are acted on before their outcomes are waited for.
const PAGE: usize = 200;
/// How long the part may take to act on a page. A part that does not run now acts when it does.
const ACT_LIMIT: Duration = Duration::from_secs(30);
/// What the scopes of an operator's records say.
const SCOPES: &str = "operator";
/// `OperatorActed.outcome` where it was done.
const DONE: &str = "done";
/// What a dry run says of it.
const WOULD: &str = "would be tried";
/// Name under which the command line publishes.
const PUBLISHER: &str = "cli";

/// Who acts, and why. Both go into the book.
#[derive(clap::Args, Clone, Debug)]
pub struct By {
    /// Why: it stays in the book.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Id of the person who acts.
    #[arg(long, env = "DAYBOOK_OPERATOR", value_name = "UUID")]
    operator: Uuid,
    /// Only tell what would be done, and to how many.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before acting on everything that a filter finds.
    #[arg(long)]
    yes: bool,
    /// Print the outcomes as JSON.
    #[arg(long)]
    json: bool,
}

impl By {
    pub fn actor_id(&self) -> PersonId {
        PersonId::new(self.operator)
    }

    pub fn reason(&self) -> String {
        self.reason.clone()
    }

    /// Asks before acting on what a filter has found, unless that was answered beforehand.
    ///
    /// # Errors
    /// When the answer is no, or nobody is there to answer.
    pub fn confirm(&self, question: &str) -> Result<()> {
        if self.yes || self.dry_run {
            return Ok(());
        }
        ensure!(io::stdin().is_terminal(), "{question}? Look with --dry-run, then answer with --yes");
        eprint!("{question}? [y/N] ");
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        ensure!(matches!(answer.trim(), "y" | "yes"), "nothing was done");
        Ok(())
    }
}

/// One record for a control topic.
pub struct Order {
    /// The part's control topic.
    pub topic: String,
    /// Kafka's key, which decides which partition acts.
    pub key: Vec<u8>,
    pub type_name: &'static str,
    /// Avro, without frame.
    pub body: Vec<u8>,
}

/// One line of what was asked for: what it is done to, and the order, or why there can be none.
pub struct Item {
    pub target: Uuid,
    pub order: Result<Order>,
}

/// What came of an item.
#[derive(Serialize)]
struct Line {
    action: &'static str,
    target: Uuid,
    outcome: String,
}

impl Order {
    /// # Errors
    /// When the message does not fit its schema: a reason that is too long, say.
    pub fn of<M: Message>(topic: &str, key: Vec<u8>, message: &M) -> Result<Self> {
        let mut body = Vec::new();
        daybook_events::encode(message, &mut body)?;
        Ok(Self { topic: topic.to_owned(), key, type_name: M::FULL_NAME, body })
    }
}

/// A key in this partition: `wanted` itself where it belongs there, or else any that does. A parked record may bear a key
/// of another partition, or none: that is why it was parked.
pub fn key_in(partition: u16, wanted: Option<Vec<u8>>) -> Vec<u8> {
    let belongs = |key: &Vec<u8>| key::partition(key, u32::from(PARTITIONS)) == u32::from(partition);
    let substitutes = (0_u32..).map(|number| format!("partition-{partition}-{number}").into_bytes());
    let mut candidates = wanted.into_iter().chain(substitutes);
    candidates.find(belongs).expect("the substitutes never end, and every partition has its share of them")
}

/// Publishes for the command line.
pub struct Desk {
    log: Arc<Log>,
    requests: Requests,
    clock: SystemClock,
}

impl Desk {
    /// # Errors
    /// When the registry has other ideas of the contract, or cannot be reached.
    pub async fn open(log: Arc<Log>) -> Result<Self> {
        // Learns the ids; what is registered stays as it is.
        log.registry().register(&subjects(&daybook_log::plan(&leaves::specs()?))).await?;
        let requests = log.requests(PUBLISHER, PUBLISH_LIMIT)?;
        Ok(Self { log, requests, clock: SystemClock::default() })
    }

    pub fn now(&self) -> Timestamp {
        self.clock.wall().into()
    }

    pub async fn tail_from_end(&self, topic: &str) -> Result<Tail> {
        Ok(self.log.tail(topic, Start::End, true).await?)
    }

    /// Publishes a message and waits for the acknowledgment.
    ///
    /// # Errors
    /// When it is not known to be in the log.
    pub async fn publish(&self, topic: &str, key: &[u8], type_name: &str, header: &Header, body: &[u8]) -> Result<()> {
        use daybook_events::Schemas as _;
        let schema = self.log.registry().id_of(type_name);
        let schema = schema.with_context(|| format!("the schema of {type_name} is not registered"))?;
        let mut value = Vec::with_capacity(body.len() + daybook_events::FRAME_BYTES);
        daybook_events::frame(schema, &mut value);
        value.extend_from_slice(body);
        let mut bytes = Vec::new();
        header.encode(&mut bytes)?;
        let message_id = header.message_id;
        let request = Request { topic, key, type_name, message_id, time: header.time, header: &bytes, value: &value };
        self.requests.publish(request, Instant::now() + PUBLISH_LIMIT).await?;
        Ok(())
    }

    /// Acts on the targets, page by page, and prints what came of each. `item_of` looks at a target right before it is acted on.
    ///
    /// # Errors
    /// When there is nothing to act on, or acting had to end early; what goes wrong with a single one is told in its line.
    pub async fn carry_out<T>(&self, by: &By, targets: Vec<T>, item_of: impl AsyncFn(&T) -> Item) -> Result<Outcome> {
        if targets.is_empty() {
            bail!("there is nothing to act on");
        }
        // Shown only where standard error is a terminal.
        let progress = ProgressBar::new(targets.len() as u64);
        let mut lines = Vec::with_capacity(targets.len());
        let mut ended = Ok(());
        for page in targets.chunks(PAGE) {
            let mut items = Vec::with_capacity(page.len());
            for target in page {
                items.push(item_of(target).await);
            }
            let outcomes =
                if by.dry_run { Ok(items.iter().map(would).collect()) } else { self.outcomes(by, &items).await };
            match outcomes {
                Ok(outcomes) => lines.extend(items.iter().zip(outcomes).map(|(item, outcome)| Line::of(item, outcome))),
                Err(error) => {
                    ended = Err(error.context(format!("acting ended after {} of {}", lines.len(), targets.len())));
                    break;
                }
            }
            progress.inc(page.len() as u64);
        }
        progress.finish_and_clear();
        report(by, &lines)?;
        ended?;
        Ok(Outcome::good_if(lines.iter().all(|line| line.outcome == DONE || line.outcome == WOULD)))
    }

    async fn outcomes(&self, by: &By, items: &[Item]) -> Result<Vec<String>> {
        // Opened before anything is published, so that no answer falls in between.
        let mut acted = self.tail_from_end(OperatorActed::TOPIC).await?;
        let mut waiting: HashMap<Uuid, usize> = HashMap::new();
        let mut outcomes = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            match self.give(by, item).await {
                Ok(message_id) => {
                    waiting.insert(message_id, place);
                    outcomes.push("not answered yet: does the part run?".to_owned());
                }
                Err(why) => outcomes.push(why),
            }
        }
        let until = Instant::now() + ACT_LIMIT;
        while !waiting.is_empty() {
            let Ok(record) = timeout_at(until, acted.next()).await else { break };
            let record = record?.ok_or_else(|| anyhow!("the topic of what operators did has come to an end"))?;
            if let Some(place) = cause_of(&record).and_then(|cause| waiting.remove(&cause)) {
                outcomes[place] = outcome_of(&record)?;
            }
        }
        Ok(outcomes)
    }

    /// Publishes an order; answers the id that its outcome will name as its cause.
    async fn give(&self, by: &By, item: &Item) -> Result<Uuid, String> {
        let order = intended(item)?;
        let mut header = Header::first(ids::random(), self.now());
        header.actor = Some(Actor { id: by.operator, scopes: SCOPES.into() });
        let published = self.publish(&order.topic, &order.key, order.type_name, &header, &order.body).await;
        published.map(|()| header.message_id).map_err(|error| format!("{error:#}"))
    }
}

fn intended(item: &Item) -> Result<&Order, String> {
    item.order.as_ref().map_err(|error| format!("{error:#}"))
}

fn would(item: &Item) -> String {
    intended(item).map_or_else(|why| why, |_| WOULD.to_owned())
}

impl Line {
    fn of(item: &Item, outcome: String) -> Self {
        let type_name = item.order.as_ref().map_or("", |order| order.type_name);
        Self { action: type_name.rsplit('.').next().unwrap_or_default(), target: item.target, outcome }
    }
}

fn report(by: &By, lines: &[Line]) -> Result<()> {
    if by.json {
        return output::json(&lines);
    }
    let mut table = Table::new(&["target", "action", "outcome"]);
    for Line { action, target, outcome } in lines {
        table.row([target.to_string().as_str(), action, outcome]);
    }
    table.print("")?;
    if lines.len() > 1 {
        output::line("")?;
        tally(lines).into_iter().try_for_each(|(outcome, count)| output::line(&format!("{count} {outcome}")))?;
    }
    Ok(())
}

/// How often there was each outcome.
fn tally(lines: &[Line]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line.outcome.as_str()).or_default() += 1;
    }
    counts
}

/// Id of the record that a record was caused by.
fn cause_of(record: &Record) -> Option<Uuid> {
    HeaderRef::decode(record.header.as_deref()?).ok()?.causation_id
}

fn outcome_of(record: &Record) -> Result<String> {
    let SchemaLookup::Known(writer) = &record.schema else {
        bail!("a record of what operators did has an unknown schema");
    };
    let (_, body) = unframe(record.value.as_deref().unwrap_or_default())?;
    let acted: OperatorActed = decode(writer, body)?;
    Ok(acted.outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted() {
        let line = |outcome: &str| Line { action: "", target: Uuid::nil(), outcome: outcome.to_owned() };
        let lines = [line(DONE), line("it is not parked"), line(DONE)];
        assert_eq!(tally(&lines), BTreeMap::from([(DONE, 2), ("it is not parked", 1)]));
    }

    #[test]
    fn a_key_is_kept_where_it_belongs_and_replaced_where_not() {
        let key = key::of(Uuid::from_u128(7)).to_vec();
        let own = u16::try_from(key::partition(&key, u32::from(PARTITIONS))).unwrap();
        assert_eq!(key_in(own, Some(key.clone())), key);
        for partition in 0..PARTITIONS {
            for wanted in [None, Some(key.clone())] {
                let chosen = key_in(partition, wanted);
                assert_eq!(key::partition(&chosen, u32::from(PARTITIONS)), u32::from(partition));
            }
        }
    }
}
