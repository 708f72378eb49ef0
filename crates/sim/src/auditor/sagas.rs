//! The rules of sagas, judged from outside: by the commands that they send and by what their history says of deadlines.

use std::collections::{BTreeMap, HashMap};

use daybook_engine::{Commit, HistoryRow, Spec};
use daybook_events::{
    AuthorizePayment, CancelCollection, CancelEnrollment, CancelPayment, CollectPayment, Header, Message,
    OpenEnrollment, ReleaseSeat, ReserveSeat, Timestamp,
};
use serde::Deserialize;
use uuid::Uuid;

/// A rule, and how it was broken.
pub(super) type Breach = (&'static str, String);

/// A step has at least this time, in ms: the shortest deadline of any saga.
const SHORTEST_DEADLINE_MS: i64 = 60_000;
/// A reply that stood in the inbox for this long before a deadline was passed had to be read first, in ms. Much longer
/// than any worker takes from asking for the log's ends to committing.
const UNREAD_MS: i64 = 10 * 60_000;

/// A deadline waits for at least this long for a participant that has not read what it was sent, in ms: as
/// `lag_patience_ms` of the engine's limits.
const LAG_PATIENCE_MS: i64 = 24 * 60 * 60_000;

/// What an undo takes back, per saga.
const UNDOES: [(&str, &str, &str); 4] = [
    ("enrollment-saga", CancelEnrollment::FULL_NAME, OpenEnrollment::FULL_NAME),
    ("enrollment-saga", ReleaseSeat::FULL_NAME, ReserveSeat::FULL_NAME),
    ("enrollment-saga", CancelCollection::FULL_NAME, CollectPayment::FULL_NAME),
    ("payment-saga", CancelPayment::FULL_NAME, AuthorizePayment::FULL_NAME),
];

/// One run of one instance, as its commands show it.
#[derive(Debug, Default)]
struct Run {
    /// Types of the commands sent, each once, in the order of their first sending.
    asked: Vec<String>,
    /// The place of the latest step that was undone.
    undone_down_to: Option<usize>,
    /// The command sent last.
    latest: Option<Uuid>,
}

/// Where an answer stands in an inbox.
#[derive(Clone, Copy, Debug)]
struct Answer {
    partition: u16,
    offset: i64,
    at: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Sagas {
    runs: BTreeMap<(&'static str, Uuid), Run>,
    /// When each command was sent.
    asked_at: HashMap<Uuid, Timestamp>,
    answers: HashMap<Uuid, Answer>,
    /// Where each command stands: topic, partition, offset.
    commands: HashMap<Uuid, (String, u16, i64)>,
    /// How far the parts have come, per topic and partition.
    read: HashMap<(&'static str, u16), i64>,
    /// Since when parts tell that something of a partition of their topic waits.
    waiting: HashMap<(&'static str, u16), Timestamp>,
}

/// As much of an entry of a saga's history as tells of deadlines.
#[derive(Deserialize)]
struct Entry {
    what: String,
    step: Option<String>,
    command_id: Option<Uuid>,
}

impl Sagas {
    /// An answer reached an inbox.
    pub(super) fn answered(&mut self, reply_for: Uuid, partition: u16, offset: i64, at: Timestamp) {
        self.answers.entry(reply_for).or_insert(Answer { partition, offset, at });
    }

    /// A command reached its topic.
    pub(super) fn arrived(&mut self, command_id: Uuid, topic: &str, partition: u16, offset: i64) {
        self.commands.entry(command_id).or_insert_with(|| (topic.to_owned(), partition, offset));
    }

    /// A part has come this far.
    pub(super) fn has_read(&mut self, topic: &'static str, partition: u16, next: i64) {
        self.read.insert((topic, partition), next);
    }

    /// A part tells whether something of a partition of its topic waits for a participant.
    pub(super) fn told(&mut self, topic: &'static str, partition: u16, waits: bool, at: Timestamp) {
        if waits {
            self.waiting.entry((topic, partition)).or_insert(at);
        } else {
            self.waiting.remove(&(topic, partition));
        }
    }

    /// A saga sends a command; `answer_to`: the command whose answer led to it, if one did.
    pub(super) fn command(
        &mut self,
        spec: &Spec,
        header: &Header,
        type_name: &str,
        answer_to: Option<Uuid>,
    ) -> Option<Breach> {
        let reply_to = header.reply_to.as_ref().filter(|reply_to| *reply_to.topic == *spec.input)?;
        self.asked_at.insert(header.message_id, header.time);
        let run = self.runs.entry((spec.name, reply_to.key)).or_default();
        let awaited = run.latest.replace(header.message_id);
        let breach = run.follows(spec.name, type_name);
        if answer_to.is_some() && answer_to != awaited {
            let detail = format!("{} {}: {type_name} after the answer to {answer_to:?}", spec.name, reply_to.key);
            return Some(("a saga goes on by the answer to what it asked last", detail));
        }
        breach
    }

    /// What the history says of deadlines.
    pub(super) fn history(&self, part: &str, row: &HistoryRow, commit: &Commit) -> Option<Breach> {
        if !row.entry.contains("timed-out") && !row.entry.contains("alarmed") {
            return None;
        }
        let entry: Entry = serde_json::from_str(&row.entry).ok()?;
        let command_id = entry.command_id.filter(|_| ["timed-out", "alarmed"].contains(&&*entry.what))?;
        let step = entry.step.unwrap_or_default();
        let sent_at = self.asked_at.get(&command_id)?;
        if row.at.ms_since(*sent_at) < SHORTEST_DEADLINE_MS {
            let detail = format!("{part} {} {step}: {} ms after it was sent", row.key, row.at.ms_since(*sent_at));
            return Some(("no deadline passes before its time", detail));
        }
        if entry.what == "timed-out" && row.at.ms_since(*sent_at) < LAG_PATIENCE_MS {
            if let Some(unread) = self.unread(command_id) {
                let detail = format!("{part} {} {step}: {unread}", row.key);
                return Some(("a deadline waits for whom it asked", detail));
            }
            if self.waiting_since(command_id).is_some_and(|since| row.at.ms_since(since) > UNREAD_MS) {
                let detail = format!("{part} {} {step}", row.key);
                return Some(("a deadline waits for those for whom its participant waits", detail));
            }
        }
        let answer = self.answers.get(&command_id)?;
        let of_partition = commit.partitions.iter().find(|of_commit| of_commit.partition == answer.partition)?;
        let is_unread = answer.offset >= of_partition.next_data;
        if is_unread && row.at.ms_since(answer.at) > UNREAD_MS {
            let detail = format!("{part} {} {step}: offset {}", row.key, answer.offset);
            return Some(("what is unread comes before a deadline", detail));
        }
        None
    }

    /// Since when the part that was asked has told that it waits itself.
    fn waiting_since(&self, command_id: Uuid) -> Option<Timestamp> {
        let (topic, partition, _) = self.commands.get(&command_id)?;
        self.waiting.get(&(topic.as_str(), *partition)).copied()
    }

    /// Where a command waits to be read.
    fn unread(&self, command_id: Uuid) -> Option<String> {
        let Some((topic, partition, offset)) = self.commands.get(&command_id) else {
            return Some("not published".to_owned());
        };
        let next = self.read.get(&(topic.as_str(), *partition)).copied().unwrap_or(0);
        (next <= *offset).then(|| format!("{topic} {partition}, read up to {next} of {offset}"))
    }
}

impl Run {
    /// Judges the order of undoing.
    fn follows(&mut self, part: &str, type_name: &str) -> Option<Breach> {
        let undone = UNDOES.iter().find(|(saga, undo, _)| *saga == part && *undo == type_name).map(|(.., does)| *does);
        let Some(undone) = undone else {
            if self.undone_down_to.take().is_some() {
                // Something is done after undoing: another round.
                self.asked.clear();
            }
            if !self.asked.iter().any(|asked| asked == type_name) {
                self.asked.push(type_name.to_owned());
            }
            return None;
        };
        let place = self.asked.iter().position(|asked| asked == undone)?;
        let earlier = self.undone_down_to.replace(place).is_some_and(|down_to| down_to < place);
        earlier.then(|| ("what was done is undone from its end", format!("{part}: {type_name}")))
    }
}
