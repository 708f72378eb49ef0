//! `daybook send`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use daybook_engine::SchemaLookup;
use daybook_events::{Actor, Descriptor, Header, HeaderRef, Kind, ReplyTo, all, descriptor, key, unframe};
use daybook_service::{Section, ids};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::token::span;
use super::{Outcome, Place};
use crate::action::Desk;
use crate::connect;
use crate::output;

/// Where the closing replies of commands from outside go.
const REPLY_TOPIC: &str = "operations.operation.inbox.v1";
/// How many names of messages an error suggests.
const SUGGESTIONS_MAX: usize = 5;

/// Publishes the command in a file such as {"type": "daybook.learning.WithdrawCourse", "message": {"course_id": "…", "reason":
/// "…"}}. Sending it again with the same --id does no harm.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    file: PathBuf,
    /// Id of the command; by default a new one.
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// On whose behalf.
    #[arg(long, value_name = "UUID")]
    person: Uuid,
    /// The organization on whose behalf.
    #[arg(long, value_name = "UUID")]
    organization: Option<Uuid>,
    /// What they may do: words separated by spaces.
    #[arg(long, default_value = "", value_name = "WORDS")]
    scope: String,
    /// How long to wait for its closing reply, such as 30s; 0s: not at all.
    #[arg(long, default_value = "30s", value_parser = span)]
    wait: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    r#type: String,
    message: Value,
}

pub(crate) async fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    let shown = arguments.file.display();
    let text = std::fs::read_to_string(&arguments.file).with_context(|| format!("cannot read {shown}"))?;
    let envelope: Envelope =
        serde_json::from_str(&text).with_context(|| format!("{shown} is not what `send` reads"))?;
    let known = command(&envelope.r#type)?;
    let key = key_of(known, &envelope.message)?;
    let mut body = Vec::new();
    (known.from_json)(&envelope.message, &mut body)?;

    let desk = Desk::open(connect::log(&place.settings(&[Section::Log])?, 1)?).await?;
    let message_id = arguments.id.unwrap_or_else(ids::random);
    let mut header = Header::first(message_id, desk.now());
    header.actor = Some(Actor { id: arguments.person, scopes: arguments.scope.as_str().into() });
    header.tenant = arguments.organization;
    header.reply_to = Some(ReplyTo { topic: REPLY_TOPIC.into(), key: message_id });
    let replies = desk.tail_from_end(REPLY_TOPIC).await?;
    desk.publish(known.topic, &key, known.full_name, &header, &body).await?;
    eprintln!("published {} {message_id}", known.name);
    if arguments.wait.is_zero() {
        return Ok(Outcome::Good);
    }
    await_reply(replies, message_id, arguments.wait).await
}

fn command(name: &str) -> Result<&'static Descriptor> {
    let found = descriptor(name).or_else(|| all().iter().find(|known| known.name == name));
    let Some(found) = found else {
        let is_like = |known: &&Descriptor| known.kind == Kind::Command && known.name.contains(name);
        let similar: Vec<&str> =
            all().iter().filter(is_like).map(|known| known.full_name).take(SUGGESTIONS_MAX).collect();
        bail!("there is no message named {name}; similar ones: {}", similar.join(", "));
    };
    if found.kind != Kind::Command {
        bail!(
            "{name} is of kind {}, and only commands are sent; operators act by parked, effects and saga",
            found.kind
        );
    }
    Ok(found)
}

/// Kafka's key: the field that the contract names.
fn key_of(known: &Descriptor, message: &Value) -> Result<Vec<u8>> {
    let text = message.get(known.key).and_then(Value::as_str);
    let text = text.with_context(|| format!("{} needs {}, an id, which is its key", known.name, known.key))?;
    let id: Uuid = text.parse().with_context(|| format!("{} is no id", known.key))?;
    Ok(key::of(id).to_vec())
}

async fn await_reply(mut replies: daybook_log::Tail, message_id: Uuid, wait: Duration) -> Result<Outcome> {
    let until = Instant::now() + wait;
    loop {
        let Ok(record) = timeout_at(until, replies.next()).await else {
            bail!(
                "no reply within {} s; it may come yet: daybook tail {REPLY_TOPIC} --key {message_id}",
                wait.as_secs()
            );
        };
        let record = record?.ok_or_else(|| anyhow!("the topic of replies has come to an end"))?;
        let header = record.header.as_deref().and_then(|bytes| HeaderRef::decode(bytes).ok());
        let (Some(header), SchemaLookup::Known(writer)) = (header, &record.schema) else { continue };
        if header.reply_for != Some(message_id) {
            continue;
        }
        let known = descriptor(writer.full_name()).context("the reply is no message of this build")?;
        let (_, body) = unframe(record.value.as_deref().unwrap_or_default())?;
        output::json(&serde_json::json!({ "type": known.full_name, "message": (known.to_json)(writer, body)? }))?;
        let is_refusal = matches!(known.name, "Rejected" | "Discarded");
        return Ok(Outcome::good_if(!is_refusal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commands_are_sent_and_others_are_told_what_to_do() {
        assert_eq!(command("WithdrawCourse").unwrap().name, "WithdrawCourse");
        assert!(command("daybook.runtime.CancelSaga").unwrap_err().to_string().contains("saga"));
        assert!(command("Course").unwrap_err().to_string().contains("daybook.learning.PublishCourse"));
    }

    #[test]
    fn the_key_is_the_field_that_the_contract_names() {
        let known = command("WithdrawCourse").unwrap();
        let id = Uuid::from_u128(0xabc);
        let upper = id.to_string().to_uppercase();
        assert_eq!(key_of(known, &serde_json::json!({ "course_id": upper })).unwrap(), key::of(id));
        assert!(key_of(known, &serde_json::json!({})).unwrap_err().to_string().contains("course_id"));
    }
}
