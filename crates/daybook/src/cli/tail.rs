//! `daybook tail`

use anyhow::{Context, Result, anyhow};
use daybook_engine::{Record, SchemaLookup};
use daybook_events::{Descriptor, HeaderRef, Timestamp, descriptor, key, unframe};
use daybook_log::{Refusal, Start, TopicPlan};
use daybook_service::{Clock, Section, SystemClock};
use serde_json::{Value, json};

use super::token::span;
use super::{Outcome, Place, topics};
use crate::connect;
use crate::marks::Marks;
use crate::output;

/// What stands in the place of a person's data.
const SEALED: &str = "(sealed)";
/// Records before the end of each partition that are shown unless told otherwise.
const LAST_DEFAULT: u32 = 10;
/// The most topics that are named as similar.
const SIMILAR_MAX: usize = 10;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    topic: String,
    /// Only records of this key.
    #[arg(long)]
    key: Option<String>,
    /// Only messages of this type, such as SeatReserved.
    #[arg(long = "type", value_name = "NAME")]
    type_name: Option<String>,
    /// Where to begin: beginning, end, a time (2026-03-01T12:00:00Z), a time ago (15m), or a number of records before the end
    /// of each partition (-20).
    #[arg(long, default_value = "-10", allow_hyphen_values = true)]
    from: String,
    /// Stop after so many.
    #[arg(long)]
    limit: Option<u64>,
    /// Go on as records come in.
    #[arg(long, short)]
    follow: bool,
    /// Records that were published again, too.
    #[arg(long)]
    duplicates: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    let log = connect::log(&place.settings(&[Section::Log])?, 1)?;
    let start = start_of(&arguments.from, now())?;
    let mut tail = match log.tail(&arguments.topic, start, arguments.follow).await {
        Err(daybook_log::Error::Refused(Refusal::TopicsMissing { .. })) => return Err(no_topic(&arguments.topic)?),
        opened => opened?,
    };
    let mut marks = Marks::default();
    let mut shown = 0;
    while arguments.limit.is_none_or(|limit| shown < limit) {
        let Some(record) = tail.next().await? else { break };
        let seen = Seen::of(&record);
        let is_new = marks.is_new(record.partition, seen.header.and_then(|header| header.shard).as_ref());
        if (is_new || arguments.duplicates) && is_wanted(arguments, &seen) {
            output::line(&if arguments.json { seen.as_object().to_string() } else { seen.as_text() })?;
            shown += 1;
        }
    }
    Ok(Outcome::Good)
}

/// There is no such topic; those of the contract with a name like it may be meant.
fn no_topic(name: &str) -> Result<anyhow::Error> {
    let planned = topics::planned()?;
    if planned.iter().any(|topic| topic.name == name) {
        return Ok(anyhow!("the topic {name} is missing; create it with: daybook topics apply"));
    }
    let is_like = |topic: &&TopicPlan| name.split('.').any(|word| topic.name.contains(word));
    let similar = planned.iter().filter(is_like).map(|topic| format!("\n  {}", topic.name)).take(SIMILAR_MAX);
    Ok(anyhow!("there is no topic named {name}; similar ones: {}", similar.collect::<String>()))
}

fn now() -> Timestamp {
    SystemClock::default().wall().into()
}

fn start_of(text: &str, now: Timestamp) -> Result<Start> {
    Ok(match text {
        "beginning" => Start::Beginning,
        "end" => Start::End,
        _ => {
            if let Some(count) = text.strip_prefix('-').and_then(|count| count.parse().ok()) {
                return Ok(Start::Last(count));
            }
            if let Ok(ago) = span(text) {
                return Ok(Start::Time(now.plus_ms(-i64::try_from(ago.as_millis()).unwrap_or(i64::MAX))));
            }
            let moment = text.parse::<Timestamp>();
            let hint = || {
                format!(
                    "--from {text}: write beginning, end, a time such as 2026-03-01T12:00:00Z, a time ago such as 15m, or a \
                     number of records such as -{LAST_DEFAULT}"
                )
            };
            Start::Time(moment.with_context(hint)?)
        }
    })
}

fn is_wanted(arguments: &Arguments, seen: &Seen<'_>) -> bool {
    let is_key = |wanted: &String| seen.key() == *wanted;
    let is_type = |wanted: &String| seen.type_name == wanted || seen.type_name.rsplit('.').next() == Some(wanted);
    arguments.key.as_ref().is_none_or(is_key) && arguments.type_name.as_ref().is_none_or(is_type)
}

/// A record, and as much of it as makes sense.
struct Seen<'r> {
    record: &'r Record,
    header: Option<HeaderRef<'r>>,
    type_name: &'r str,
    /// The message with a person's data masked, or why it cannot be shown.
    message: Result<Value, String>,
}

impl<'r> Seen<'r> {
    fn of(record: &'r Record) -> Self {
        let header = record.header.as_deref().and_then(|bytes| HeaderRef::decode(bytes).ok());
        let (type_name, message) = match &record.schema {
            SchemaLookup::Known(writer) => (writer.full_name(), decoded(record)),
            SchemaLookup::NoSuchId(id) => ("unknown", Err(format!("the registry has no schema {id}"))),
            SchemaLookup::Unframed => ("unknown", Err("it is not framed".to_owned())),
        };
        Self { record, header, type_name, message }
    }

    fn key(&self) -> String {
        key::to_text(self.record.key.as_deref().unwrap_or_default()).into_owned()
    }

    fn as_text(&self) -> String {
        let Record { partition, offset, time, .. } = self.record;
        let name = self.type_name.rsplit('.').next().unwrap_or_default();
        let message = match &self.message {
            Ok(message) => message.to_string(),
            Err(why) => format!("({why})"),
        };
        format!("{time} {partition}@{offset} {name}\n  key {}\n  {message}", self.key())
    }

    fn as_object(&self) -> Value {
        let Record { partition, offset, time, .. } = self.record;
        let header = self.header.map(|header| {
            json!({
                "message_id": header.message_id,
                "correlation_id": header.correlation_id,
                "causation_id": header.causation_id,
                "actor": header.actor.map(|(id, _)| id),
                "tenant": header.tenant,
                "reply_for": header.reply_for,
                "shard": header.shard.map(|shard| {
                    json!({ "instance": shard.instance, "partition": shard.partition, "seq": shard.seq })
                }),
            })
        });
        json!({
            "partition": partition,
            "offset": offset,
            "time": time.to_string(),
            "key": self.key(),
            "type": self.type_name,
            "header": header,
            "message": self.message.as_ref().ok(),
            "unreadable": self.message.as_ref().err(),
        })
    }
}

fn decoded(record: &Record) -> Result<Value, String> {
    let SchemaLookup::Known(writer) = &record.schema else {
        return Err("its schema is not known".to_owned());
    };
    let known = descriptor(writer.full_name()).ok_or("it is no message of this build")?;
    let (_, body) = unframe(record.value.as_deref().unwrap_or_default()).map_err(|error| error.to_string())?;
    let message = (known.to_json)(writer, body).map_err(|error| error.to_string())?;
    Ok(masked(known, message))
}

fn masked(known: &Descriptor, mut message: Value) -> Value {
    for sealed in known.sealed {
        if let Some(value) = message.get_mut(sealed.field).filter(|value| !value.is_null()) {
            *value = SEALED.into();
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_read_in_every_form() {
        let now = Timestamp(1_772_366_400_000_000);
        assert_eq!(start_of("beginning", now).unwrap(), Start::Beginning);
        assert_eq!(start_of("-20", now).unwrap(), Start::Last(20));
        assert_eq!(start_of("15m", now).unwrap(), Start::Time(now.plus_ms(-900_000)));
        assert_eq!(start_of("2026-03-01T12:00:00Z", now).unwrap(), Start::Time(now));
        assert!(start_of("yesterday", now).unwrap_err().to_string().contains("write beginning"));
    }

    #[test]
    fn what_is_sealed_is_masked_and_the_rest_is_shown() {
        let known = descriptor("daybook.people.PersonRegistered").unwrap();
        let shown = masked(known, json!({ "name": [1, 2], "email": [3], "phone": null, "language": "en" }));
        assert_eq!(shown, json!({ "name": SEALED, "email": SEALED, "phone": null, "language": "en" }));
    }
}
