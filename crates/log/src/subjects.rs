//! Under which names the registry knows the schemas: one subject per topic and record type.

use daybook_events::{Descriptor, Kind, all};

use crate::TopicPlan;

/// A schema and the name it is registered under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Topic and full name of the record, without prefix (TopicRecordNameStrategy).
    pub name: String,
    pub full_name: &'static str,
    pub schema: &'static str,
    /// What a later version must be compatible with.
    pub compatibility: &'static str,
}

/// What registering came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Versions that the registry did not have.
    pub added: usize,
    /// Versions that it had.
    pub known: usize,
}

/// Every schema under each topic in which it is published: its own, the topics that a star stands for, and for what closes a
/// command the inboxes, where replies go.
pub fn subjects(plan: &[TopicPlan]) -> Vec<Subject> {
    all().iter().flat_map(|message| topics_of(message, plan).map(|topic| subject(topic, message))).collect()
}

fn topics_of<'a>(message: &'static Descriptor, plan: &'a [TopicPlan]) -> impl Iterator<Item = &'a str> {
    let closes = all().iter().any(|command| command.closing.contains(&message.full_name));
    plan.iter().map(|topic| topic.name.as_str()).filter(move |topic| match message.topic {
        "*" => is_inbox(topic) || is_control(topic),
        pattern => matches(pattern, topic) || (closes && is_inbox(topic)),
    })
}

fn subject(topic: &str, message: &'static Descriptor) -> Subject {
    Subject {
        name: format!("{topic}-{}", message.full_name),
        full_name: message.full_name,
        schema: message.schema,
        compatibility: match message.kind {
            Kind::Event => "FULL_TRANSITIVE",
            Kind::Command | Kind::Control => "BACKWARD_TRANSITIVE",
        },
    }
}

/// Whether the topic is `pattern`, in which one star stands for any text.
fn matches(pattern: &str, topic: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == topic,
        Some((before, after)) => {
            topic.len() >= before.len() + after.len() && topic.starts_with(before) && topic.ends_with(after)
        }
    }
}

fn is_inbox(topic: &str) -> bool {
    topic.contains(".inbox.")
}

fn is_control(topic: &str) -> bool {
    topic.contains(".control.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("*-saga.events.v1", "learning.enrollment-saga.events.v1"));
        assert!(!matches("*-saga.events.v1", "learning.enrollment.events.v1"));
        assert!(matches("a.b.events.v1", "a.b.events.v1"));
        assert!(!matches("ab*ba", "aba"));
    }

    #[test]
    fn every_message_has_a_subject_and_what_closes_a_command_has_one_in_the_inboxes() {
        let subjects = subjects(&crate::plan([]));
        for message in all() {
            assert!(subjects.iter().any(|subject| subject.full_name == message.full_name), "{}", message.full_name);
        }
        assert!(subjects.iter().any(|subject| {
            subject.name == "learning.enrollment-saga.inbox.v1-daybook.learning.SeatReserved"
                && subject.compatibility == "FULL_TRANSITIVE"
        }));
    }
}
