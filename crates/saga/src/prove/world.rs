//! The world around one instance: participants that answer as they like, an inbox, a clock.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use daybook_engine::{Context, Emit, Incoming, Input, Leaf, Output, Row, RowKey, Rows, Thread};
use daybook_events::{Discarded, Header, Message, OperatorActed, Rejected, ReplyTo, SagaStarted, Timestamp, derive_id};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Sample;
use super::judge::{Asked, Judge, Sent};
use super::moves::{Answer, Move, Reply, Verb};
use super::samples::{self, Style};
use crate::instance::{Direction, Instance};
use crate::{Saga, SagaData, Versions};

/// Where the starts and cancels of the proof want their replies.
const CALLER_TOPIC: &str = "operations.operation.inbox.v1";

/// What is given and never changes.
pub(crate) struct Given<'a, D> {
    pub(crate) versions: &'a Versions<D>,
    pub(crate) instance_id: Uuid,
    pub(crate) start: Vec<u8>,
    pub(crate) start_json: Value,
    pub(crate) style: Style,
    pub(crate) samples: &'a [Sample],
}

/// The steps that led here, latest first.
#[derive(Debug)]
pub(crate) struct Trail {
    pub(crate) told: String,
    pub(crate) before: Option<Rc<Trail>>,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) row: Option<Row>,
    queues: BTreeMap<(String, Uuid), VecDeque<Sent>>,
    replies: Vec<Reply>,
    /// The latest replies that arrived.
    arrived: VecDeque<Reply>,
    pub(crate) judge: Judge,
    pub(crate) faults_left: u8,
    asks: u32,
    pub(crate) trail: Option<Rc<Trail>>,
}

/// Replies that are kept to be repeated.
const ARRIVED_KEPT: usize = 2;

impl World {
    pub(crate) fn new(faults: u8) -> Self {
        Self {
            now: Timestamp(1_700_000_000_000_000),
            row: None,
            queues: BTreeMap::new(),
            replies: Vec::new(),
            arrived: VecDeque::new(),
            judge: Judge::default(),
            faults_left: faults,
            asks: 0,
            trail: None,
        }
    }

    /// Equal for worlds from which the same can follow.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.row.as_ref().map(|row| &row.body).hash(&mut hasher);
        (&self.queues, &self.replies, &self.arrived, &self.judge).hash(&mut hasher);
        self.faults_left.hash(&mut hasher);
        hasher.finish()
    }

    /// What happens if nothing goes wrong; `None` when all is at rest.
    pub(crate) fn usual<D: SagaData>(&self, given: &Given<'_, D>) -> Option<Move> {
        if let Some((place, queue)) = self.queues.first_key_value() {
            let good = queue.front().map_or(0, |sent| self.good_closing(given, sent));
            return Some(Move::Work { place: place.clone(), answer: Answer::Closing(good) });
        }
        if !self.replies.is_empty() {
            return Some(Move::Deliver(0));
        }
        self.row.as_ref().and_then(|row| row.due).map(|_| Move::Due)
    }

    /// What may happen instead.
    pub(crate) fn unusual<D: SagaData>(&self, given: &Given<'_, D>) -> Vec<Move> {
        let usual = self.usual(given);
        let saga = given.versions.newest();
        let mut moves = vec![Move::Start];
        if saga.cancel.is_some() {
            moves.push(Move::Cancel);
        }
        for (place, queue) in &self.queues {
            let Some(sent) = queue.front() else { continue };
            let closings = (0..closing_names(saga, sent).len()).map(Answer::Closing);
            moves.extend(
                closings
                    .chain([Answer::Rejected, Answer::Discarded])
                    .map(|answer| Move::Work { place: place.clone(), answer }),
            );
        }
        moves.extend((0..self.replies.len()).map(Move::Deliver));
        moves.extend((0..self.arrived.len()).map(Move::Repeat));
        if let Some(row) = &self.row {
            moves.extend([Verb::Retry, Verb::Skip, Verb::Compensate, Verb::Cancel].map(Move::Order));
            moves.extend(row.due.map(|_| Move::Due));
        }
        moves.retain(|unusual| Some(unusual) != usual.as_ref());
        moves
    }

    /// The first of a command's closing events that says that it was carried out.
    fn good_closing<D: SagaData>(&self, given: &Given<'_, D>, sent: &Sent) -> usize {
        let count = closing_names(given.versions.newest(), sent).len();
        (0..count).find(|index| self.closing(given, sent, *index).is_ok_and(|reply| reply.well)).unwrap_or(0)
    }

    fn closing<D: SagaData>(&self, given: &Given<'_, D>, sent: &Sent, index: usize) -> Result<Reply, String> {
        let saga = given.versions.newest();
        let full_name = closing_names(saga, sent)[index];
        let command = samples::to_json(sent.full_name, &sent.body);
        let body = match given.samples.iter().find(|sample| sample.full_name == full_name) {
            Some(sample) => samples::message(full_name, &over(&sample.json, &command), given.style),
            None => samples::message(full_name, &command, given.style),
        };
        let step = &saga.steps[sent.step];
        let ask = match sent.direction {
            Direction::Do => &step.ask,
            Direction::Undo => step.undo().ok_or("an undo without definition")?,
        };
        let mut data = self.instance::<D>()?.and_then(|instance| instance.data).ok_or("a command without data")?;
        let well = (ask.take)(&mut data, &samples::writer(full_name), &body).map_err(|fault| format!("{fault:?}"))?;
        let (reply_for, direction, step) = (sent.id, sent.direction, sent.step);
        Ok(Reply {
            step,
            direction,
            reply_for,
            full_name,
            body,
            well: well.is_ok() || saga.steps[step].is_best_effort(),
        })
    }

    pub(crate) fn instance<D: SagaData>(&self) -> Result<Option<Instance<D>>, String> {
        self.row.as_ref().map(Instance::read).transpose().map_err(|fault| format!("{fault:?}"))
    }

    /// Lets it happen.
    pub(crate) fn apply<D: SagaData>(&mut self, given: &Given<'_, D>, happening: &Move) -> Result<(), String> {
        match happening {
            Move::Start => self.ask(given, false),
            Move::Cancel => self.ask(given, true),
            Move::Work { place, answer } => self.work(given, place, *answer),
            Move::Deliver(index) => {
                let reply = self.replies.remove(*index);
                self.arrive(given, reply)
            }
            Move::Repeat(index) => {
                let reply = self.arrived[*index].clone();
                self.tell("again:");
                self.arrive(given, reply)
            }
            Move::Due => self.due(given),
            Move::Order(verb) => self.order(given, *verb),
        }
    }

    fn tell(&mut self, told: impl Into<String>) {
        self.trail = Some(Rc::new(Trail { told: told.into(), before: self.trail.take() }));
    }

    fn ask<D: SagaData>(&mut self, given: &Given<'_, D>, is_cancel: bool) -> Result<(), String> {
        let saga = given.versions.newest();
        self.asks += 1;
        let id = derive_id("prover-ask", &[&self.asks.to_be_bytes()]);
        self.judge.asked.push(Asked { id, is_cancel, replies: Vec::new() });
        let (full_name, body) = match (&saga.cancel, is_cancel) {
            (Some(cancel), true) => {
                self.judge.cancel_comes_in(self.row.is_some());
                (cancel.full_name, samples::message(cancel.full_name, &given.start_json, given.style))
            }
            _ => (saga.start_full_name, given.start.clone()),
        };
        self.tell(format!("{} comes in", short(full_name)));
        let header = self.header(id, None, Some(ReplyTo { topic: CALLER_TOPIC.into(), key: id }));
        self.message(given, &header, full_name, &body)?;
        // An answer at once that leaves everything as it is need not be remembered.
        self.judge.asked.retain(|asked| asked.replies != [Rejected::FULL_NAME]);
        Ok(())
    }

    fn work<D: SagaData>(
        &mut self,
        given: &Given<'_, D>,
        place: &(String, Uuid),
        answer: Answer,
    ) -> Result<(), String> {
        let queue = self.queues.get_mut(place).ok_or("no command at this place")?;
        let sent = queue.pop_front().ok_or("no command at this place")?;
        if queue.is_empty() {
            self.queues.remove(place);
        }
        let saga = given.versions.newest();
        let refusal = |full_name, json: Value| Reply {
            step: sent.step,
            direction: sent.direction,
            reply_for: sent.id,
            full_name,
            body: samples::message(full_name, &json, given.style),
            well: false,
        };
        let reply = match answer {
            Answer::Closing(index) => self.closing(given, &sent, index)?,
            Answer::Rejected => refusal(Rejected::FULL_NAME, json!({ "code": "refused" })),
            Answer::Discarded => refusal(Discarded::FULL_NAME, json!({})),
        };
        if reply.well {
            self.judge.carried_out(saga, &sent);
        }
        let (step, direction) = (saga.steps[sent.step].name, sent.direction.name());
        self.tell(format!("{step} ({direction}): the participant answers {}", short(reply.full_name)));
        self.replies.push(reply);
        Ok(())
    }

    fn arrive<D: SagaData>(&mut self, given: &Given<'_, D>, reply: Reply) -> Result<(), String> {
        let name = given.versions.newest().steps[reply.step].name;
        self.tell(format!("{name} ({}): {} arrives", reply.direction.name(), short(reply.full_name)));
        let counts = self.judge.replied(reply.step, reply.direction, reply.reply_for, reply.well);
        let before = self.row.clone();
        let id = derive_id("prover-reply", &[reply.reply_for.as_bytes(), reply.full_name.as_bytes()]);
        let header = self.header(id, Some(reply.reply_for), None);
        let sends = self.message(given, &header, reply.full_name, &reply.body)?;
        let body = |row: &Option<Row>| row.as_ref().map(|row| row.body.clone());
        if !counts && (sends > 0 || body(&before) != body(&self.row)) {
            return Err("an answer that is not awaited changes something".to_owned());
        }
        if !self.arrived.contains(&reply) {
            self.arrived.push_back(reply);
        }
        while self.arrived.len() > ARRIVED_KEPT {
            self.arrived.pop_front();
        }
        Ok(())
    }

    fn due<D: SagaData>(&mut self, given: &Given<'_, D>) -> Result<(), String> {
        let Some(due) = self.row.as_ref().and_then(|row| row.due) else { return Ok(()) };
        let input = Input::Due { row: RowKey::entity(given.instance_id) };
        self.early(given, &input, due)?;
        self.now = self.now.max(due);
        self.tell("the due time comes");
        self.handle(given, &input, derive_id("prover-due", &[&due.micros().to_be_bytes()])).map(|_| ())
    }

    /// A due time that comes too early must leave everything as it is, and put the row anew.
    fn early<D: SagaData>(&self, given: &Given<'_, D>, input: &Input<'_>, due: Timestamp) -> Result<(), String> {
        let mut early = self.clone();
        early.now = Timestamp(due.micros() - 1);
        if early.now < self.now {
            return Ok(());
        }
        let sends = early.handle(given, input, Uuid::nil())?;
        match sends == 0 && early.row == self.row {
            true => Ok(()),
            false => Err("a due time that has not come changes something".to_owned()),
        }
    }

    fn order<D: SagaData>(&mut self, given: &Given<'_, D>, verb: Verb) -> Result<(), String> {
        let Some(instance) = self.instance::<D>()? else { return Ok(()) };
        let awaited = instance.awaited.as_ref();
        let step = awaited.map_or("none", |awaited| given.versions.newest().steps[awaited.step].name);
        let full_name = match verb {
            Verb::Retry => daybook_events::RetryStep::FULL_NAME,
            Verb::Skip => daybook_events::SkipStep::FULL_NAME,
            Verb::Compensate => daybook_events::CompensateSaga::FULL_NAME,
            Verb::Cancel => daybook_events::CancelSaga::FULL_NAME,
        };
        let like = json!({ "key_text": given.instance_id.to_string(), "step": step, "round": instance.round });
        let body = samples::message(full_name, &like, given.style);
        self.tell(format!("an operator sends {} {step}", short(full_name)));
        let id = derive_id("prover-order", &[full_name.as_bytes(), step.as_bytes()]);
        let header = self.header(id, None, None);
        let (writer, before) = (samples::writer(full_name), self.row.clone());
        let target = awaited.map(|awaited| (awaited.step, awaited.direction));
        // What the order entitles to has to stand before the commands that follow from it are judged.
        let judge = self.judge.clone();
        self.judge.ordered(verb, target);
        let incoming = Incoming { key: given.instance_id, header: &header, writer: &writer, body: &body, intent: None };
        let output = self.run(given, &Input::Control(incoming), id)?;
        if outcome(&output)? != crate::verbs::DONE {
            self.judge = judge;
            let unchanged = self.row.as_ref().map(|row| &row.body) == before.as_ref().map(|row| &row.body);
            if !unchanged {
                return Err("an order that was refused changes something".to_owned());
            }
        }
        self.absorb(given, output).map(|_| ())
    }

    fn header(&self, message_id: Uuid, reply_for: Option<Uuid>, reply_to: Option<ReplyTo>) -> Header {
        Header { reply_to, reply_for, ..Header::first(message_id, self.now) }
    }

    fn message<D: SagaData>(
        &mut self,
        given: &Given<'_, D>,
        header: &Header,
        full_name: &str,
        body: &[u8],
    ) -> Result<usize, String> {
        let writer = samples::writer(full_name);
        let incoming = Incoming { key: given.instance_id, header, writer: &writer, body, intent: None };
        self.handle(given, &Input::Message(incoming), header.message_id)
    }

    /// Applies an input and takes up what comes of it. Answers how many commands and replies were sent.
    fn handle<D: SagaData>(&mut self, given: &Given<'_, D>, input: &Input<'_>, id: Uuid) -> Result<usize, String> {
        let output = self.run(given, input, id)?;
        self.absorb(given, output)
    }

    /// Applies an input twice, as after a crash before the commit: both must come to the same.
    fn run<D: SagaData>(&mut self, given: &Given<'_, D>, input: &Input<'_>, id: Uuid) -> Result<Output, String> {
        let (first, row) = self.run_once(given, input, id)?;
        let (second, again) = self.run_once(given, input, id)?;
        if row != again || format!("{first:?}") != format!("{second:?}") {
            return Err("the same input on the same state comes to something else".to_owned());
        }
        self.row = row;
        Ok(first)
    }

    fn run_once<D: SagaData>(
        &self,
        given: &Given<'_, D>,
        input: &Input<'_>,
        id: Uuid,
    ) -> Result<(Output, Option<Row>), String> {
        let thread = Thread { correlation_id: id, ..Thread::default() };
        let cx = Context { now: self.now, message_id: id, thread };
        let loaded = |_: &RowKey| Some(self.row.clone());
        let (mut rows, mut out) = (Rows::new(&loaded), Output::default());
        given.versions.handle(input, &mut rows, &cx, &mut out).map_err(|fault| format!("a fault: {fault:?}"))?;
        let own = RowKey::entity(given.instance_id);
        let written = rows.into_written().into_iter().find_map(|(key, row)| (key == own).then_some(row));
        if matches!(input, Input::Due { .. }) && written.is_none() {
            return Err("a due row is not put anew".to_owned());
        }
        Ok((out, written.unwrap_or_else(|| self.row.clone())))
    }

    fn absorb<D: SagaData>(&mut self, given: &Given<'_, D>, output: Output) -> Result<usize, String> {
        let saga = given.versions.newest();
        let mut sends = 0;
        for emit in output.messages {
            if emit.type_name == SagaStarted::FULL_NAME {
                self.judge.new_round(saga.steps.len());
            }
            if let Some(reply_for) = emit.reply_for {
                sends += 1;
                self.judge.closed(reply_for, emit.type_name)?;
            } else if emit.reply_to.is_some() {
                sends += 1;
                self.send(given, emit)?;
            } else if !given.versions.spec().outputs.contains(&emit.topic.as_ref()) {
                return Err(format!("{} goes to a topic that the saga does not declare", emit.type_name));
            }
        }
        if self.instance::<D>()?.is_some_and(|instance| instance.awaited.is_none()) {
            self.judge.awaited = None;
        }
        self.judge.clean(saga, self.status())?;
        Ok(sends)
    }

    fn send<D: SagaData>(&mut self, given: &Given<'_, D>, emit: Emit) -> Result<(), String> {
        let saga = given.versions.newest();
        let instance = self.instance::<D>()?.ok_or("a command without state")?;
        let awaited = instance.awaited.ok_or("a command whose answer is not awaited")?;
        if emit.id != Some(awaited.command_id) {
            return Err("two commands at once, or an answer awaited to another one".to_owned());
        }
        let place = (emit.topic.into_owned(), emit.key);
        let sent = Sent {
            id: awaited.command_id,
            step: awaited.step,
            direction: awaited.direction,
            full_name: emit.type_name,
            body: emit.body,
            place: place.clone(),
        };
        let told = format!("  sends {} to {}", short(sent.full_name), place.0);
        self.tell(told);
        self.judge.sent(saga, &sent)?;
        self.queues.entry(place).or_default().push_back(sent);
        Ok(())
    }

    fn status(&self) -> &str {
        self.row.as_ref().and_then(|row| row.status.as_deref()).unwrap_or("nowhere")
    }

    /// What must hold when nothing is on its way any more, and nothing is due.
    pub(crate) fn check_at_rest(&self) -> Result<(), String> {
        self.judge.at_rest(self.status())
    }
}

/// The sample's fields, with those of the command over them.
fn over(sample: &Value, command: &Value) -> Value {
    let mut fields = sample.as_object().cloned().unwrap_or_default();
    fields.extend(command.as_object().cloned().unwrap_or_default());
    Value::Object(fields)
}

fn closing_names<D>(saga: &Saga<D>, sent: &Sent) -> &'static [&'static str] {
    match (sent.direction, saga.steps[sent.step].undo()) {
        (Direction::Undo, Some(undo)) => undo.closing,
        _ => saga.steps[sent.step].ask.closing,
    }
}

fn outcome(output: &Output) -> Result<String, String> {
    let acted: Vec<&Emit> = output.messages.iter().filter(|emit| emit.type_name == OperatorActed::FULL_NAME).collect();
    let [acted] = acted.as_slice() else {
        return Err(format!("an order is recorded {} times instead of once", acted.len()));
    };
    let acted: OperatorActed = daybook_events::decode(&samples::writer(OperatorActed::FULL_NAME), &acted.body)
        .map_err(|error| error.to_string())?;
    Ok(acted.outcome)
}

pub(crate) fn short(full_name: &str) -> &str {
    full_name.rsplit('.').next().unwrap_or(full_name)
}
