//! `daybook saga`

use anyhow::{Context, Result, bail, ensure};
use daybook_engine::{PartKind, Spec};
use daybook_events::{CancelSaga, CompensateSaga, Message, RetryStep, SkipStep, key};
use daybook_service::Section;
use daybook_store::{HistoryEntry, LIST_MAX, Operator, SagaFilter, SagaView, Store};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Outcome, Place};
use crate::action::{By, Desk, Item, Order};
use crate::output::{self, Table, cut};
use crate::{connect, leaves};

/// Instances that a list shows unless told otherwise.
const LIST_DEFAULT: u32 = 50;

#[derive(clap::Subcommand)]
pub(crate) enum Arguments {
    /// List instances that have not ended.
    Ls {
        /// Only of these sagas.
        saga: Vec<String>,
        /// Only with this status: running, waiting, retrying, stuck, compensating, done, …
        #[arg(long)]
        status: Option<String>,
        /// Those that have ended, too.
        #[arg(long)]
        all: bool,
        /// At most so many of each saga.
        #[arg(long, default_value_t = LIST_DEFAULT)]
        limit: u32,
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Show where an instance stands, and how it came there.
    Show {
        saga: String,
        id: Uuid,
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Send the awaited command again, as a new attempt.
    Retry(Which),
    /// Go on as if the awaited step had been left out. Only where its answer is not needed.
    Skip(Which),
    /// Undo what was done. Not past the point of no return.
    Compensate(Which),
    /// End it where it stands: nothing is undone.
    Cancel(Which),
}

/// Instances of a saga, by their ids or as a filter finds them, and who acts on them.
#[derive(clap::Args)]
pub(crate) struct Which {
    saga: String,
    #[arg(required_unless_present_any = ["all", "status", "step"], conflicts_with_all = ["all", "status", "step"])]
    id: Vec<Uuid>,
    /// All that have not ended.
    #[arg(long)]
    all: bool,
    /// All of this status that have not ended.
    #[arg(long)]
    status: Option<String>,
    /// All that await the answer to this step.
    #[arg(long)]
    step: Option<String>,
    #[command(flatten)]
    by: By,
}

/// What of an instance's state is needed here. Its data may be personal and stays unread.
#[derive(Deserialize)]
struct State {
    round: i64,
    steps: Vec<Step>,
    awaited: Option<Awaited>,
    failure: Option<Value>,
}

/// Nothing is written of a count that is zero.
#[derive(Deserialize)]
struct Step {
    name: String,
    status: String,
    #[serde(default)]
    attempts: u32,
    #[serde(default)]
    undo_attempts: u32,
}

#[derive(Deserialize)]
struct Awaited {
    step: usize,
}

impl State {
    fn awaited_step(&self) -> Option<&str> {
        let awaited = self.awaited.as_ref()?;
        Some(self.steps.get(awaited.step)?.name.as_str())
    }
}

pub(crate) async fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    match arguments {
        Arguments::Ls { saga, status, all, limit, json } => {
            let filter =
                SagaFilter { status: status.clone(), open_only: !all && status.is_none(), after: None, limit: *limit };
            list(&connect::store(&place.settings(&[Section::Store])?).await?, saga, &filter, *json).await
        }
        Arguments::Show { saga, id, json } => {
            let store = connect::store(&place.settings(&[Section::Store])?).await?;
            show(&store.operator(saga_spec(saga)?.name)?, saga, *id, *json).await
        }
        Arguments::Retry(which) => act(place, which, retry).await,
        Arguments::Skip(which) => act(place, which, skip).await,
        Arguments::Compensate(which) => act(place, which, compensate).await,
        Arguments::Cancel(which) => act(place, which, cancel).await,
    }
}

fn saga_spec(name: &str) -> Result<Spec> {
    let spec = leaves::spec(name)?;
    if spec.kind != PartKind::Saga {
        bail!("{name} is no saga");
    }
    Ok(spec)
}

async fn list(store: &Store, sagas: &[String], filter: &SagaFilter, as_json: bool) -> Result<Outcome> {
    let mut found: Vec<(&str, SagaView)> = Vec::new();
    for spec in leaves::specs_of(sagas)?.iter().filter(|spec| spec.kind == PartKind::Saga) {
        let instances = store.operator(spec.name)?.sagas(filter).await;
        found.extend(connect::if_started(instances)?.unwrap_or_default().into_iter().map(|view| (spec.name, view)));
    }
    if as_json {
        output::json(&found.iter().map(|(saga, view)| json!({ "saga": saga, "instance": view })).collect::<Vec<_>>())?;
        return Ok(Outcome::Good);
    }
    let mut table = Table::new(&["id", "saga", "status", "due"]);
    for (saga, view) in &found {
        let due = view.due.map(|due| due.to_string()).unwrap_or_default();
        let status = view.status.as_deref().unwrap_or("unknown");
        table.row([view.key.to_string(), (*saga).to_owned(), status.to_owned(), cut(&due, 20)]);
    }
    table.print("no saga is under way")?;
    Ok(Outcome::Good)
}

async fn state_of(operator: &Operator, id: Uuid) -> Result<(SagaView, State)> {
    let found = connect::if_started(operator.saga_state(id).await)?.flatten();
    let (view, body) = found.context("there is no such instance")?;
    // The parser's own text may repeat what is stored.
    let state = serde_json::from_slice(&body);
    Ok((view, state.map_err(|_| anyhow::anyhow!("the state of {id} was written by another release"))?))
}

async fn show(operator: &Operator, saga: &str, id: Uuid, as_json: bool) -> Result<Outcome> {
    let (view, state) = state_of(operator, id).await?;
    let history = operator.history(id, 0).await?;
    if as_json {
        let failure = &state.failure;
        let (awaited, round) = (state.awaited_step(), state.round);
        output::json(&json!({
            "instance": view, "round": round, "awaited": awaited, "failure": failure, "history": history,
        }))?;
        return Ok(Outcome::Good);
    }
    let status = view.status.as_deref().unwrap_or("unknown");
    output::line(&format!("{saga} {id}, round {}: {status}", state.round))?;
    if let Some(step) = state.awaited_step() {
        output::line(&format!("awaits the answer to {step}"))?;
    }
    output::line("")?;
    let mut steps = Table::new(&["step", "status", ">sent", ">undone"]);
    for step in &state.steps {
        let counts = [step.attempts.to_string(), step.undo_attempts.to_string()];
        steps.row([step.name.clone(), step.status.clone()].into_iter().chain(counts));
    }
    steps.print("no steps")?;
    output::line("")?;
    timeline(&history)
}

fn timeline(history: &[HistoryEntry]) -> Result<Outcome> {
    let text = |entry: &Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut table = Table::new(&["at", "what", "step", "code", "next"]);
    for HistoryEntry { at, entry } in history {
        let next = [text(entry, "next"), text(entry, "next_step")].join(" ");
        let cells = ["what", "step", "code"].map(|field| text(entry, field));
        table.row(std::iter::once(at.to_string()).chain(cells).chain([next.trim().to_owned()]));
    }
    table.print("no history")?;
    Ok(Outcome::Good)
}

/// What is acted on.
struct Target<'a> {
    spec: &'a Spec,
    id: Uuid,
    state: State,
    by: &'a By,
}

impl Target<'_> {
    fn key_text(&self) -> String {
        self.id.to_string()
    }

    fn step(&self) -> Result<String> {
        let step = self.state.awaited_step().map(str::to_owned);
        step.context("no step is awaited now")
    }

    fn order<M: Message>(&self, message: &M) -> Result<Order> {
        Order::of(&self.spec.control, key::of(self.id).to_vec(), message)
    }
}

fn retry(target: &Target<'_>) -> Result<Order> {
    let (key_text, step, round) = (target.key_text(), target.step()?, target.state.round);
    target.order(&RetryStep { key_text, step, round, actor_id: target.by.actor_id(), reason: target.by.reason() })
}

fn skip(target: &Target<'_>) -> Result<Order> {
    let (key_text, step, round) = (target.key_text(), target.step()?, target.state.round);
    target.order(&SkipStep { key_text, step, round, actor_id: target.by.actor_id(), reason: target.by.reason() })
}

fn compensate(target: &Target<'_>) -> Result<Order> {
    let (key_text, round) = (target.key_text(), target.state.round);
    target.order(&CompensateSaga { key_text, round, actor_id: target.by.actor_id(), reason: target.by.reason() })
}

fn cancel(target: &Target<'_>) -> Result<Order> {
    let (key_text, round) = (target.key_text(), target.state.round);
    target.order(&CancelSaga { key_text, round, actor_id: target.by.actor_id(), reason: target.by.reason() })
}

/// Looks at each instance again right before acting: the round and the step that are meant go into the order, so that
/// what has moved on meanwhile is not touched.
async fn act(place: &Place, which: &Which, order: impl Fn(&Target<'_>) -> Result<Order>) -> Result<Outcome> {
    let settings = place.settings(&[Section::Log, Section::Store])?;
    let spec = saga_spec(&which.saga)?;
    let operator = connect::store(&settings).await?.operator(spec.name)?;
    let ids = if which.id.is_empty() { found(&operator, which).await? } else { which.id.clone() };
    if which.id.is_empty() && !ids.is_empty() {
        which.by.confirm(&format!("act on {} instances of {}", ids.len(), spec.name))?;
    }
    let item = async |id: &Uuid| {
        let found = state_of(&operator, *id).await;
        let order = found.and_then(|(view, state)| {
            which.check(&view, &state)?;
            order(&Target { spec: &spec, id: *id, state, by: &which.by })
        });
        Item { target: *id, order }
    };
    Desk::open(connect::log(&settings, 1)?).await?.carry_out(&which.by, ids, item).await
}

/// The instances that the filter finds now, page by page.
async fn found(operator: &Operator, which: &Which) -> Result<Vec<Uuid>> {
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let filter = SagaFilter { status: which.status.clone(), open_only: true, after, limit: LIST_MAX };
        let page = connect::if_started(operator.sagas(&filter).await)?.unwrap_or_default();
        for view in &page {
            if which.step.is_none() || which.check(view, &state_of(operator, view.key).await?.1).is_ok() {
                ids.push(view.key);
            }
        }
        after = page.last().map(|view| view.key);
        if page.len() < LIST_MAX as usize {
            return Ok(ids);
        }
    }
}

impl Which {
    /// # Errors
    /// When the instance is none that the filter means, or is so no longer.
    fn check(&self, view: &SagaView, state: &State) -> Result<()> {
        let has_status = self.status.is_none() || view.status == self.status;
        let is_at_step = self.step.is_none() || state.awaited_step() == self.step.as_deref();
        ensure!(has_status && is_at_step, "it has moved on");
        Ok(())
    }
}
