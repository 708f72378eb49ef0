//! Which topics there must be.

use std::collections::BTreeMap;

use daybook_engine::{PARTITIONS, Spec};
use daybook_events::{Retention, topics};

use crate::TopicSeen;

/// A topic as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    /// Without prefix.
    pub name: String,
    pub partitions: u16,
    pub retention: Retention,
}

/// In what a topic differs from its plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// `topics apply` creates it.
    Missing { topic: String },
    /// Nothing can be done in place.
    Partitions { topic: String, expected: u16, found: usize },
}

/// Every topic of the contract, and the control topics and inputs of the parts, each once, in the order of names.
pub fn plan<'a>(parts: impl IntoIterator<Item = &'a Spec>) -> Vec<TopicPlan> {
    let mut retentions: BTreeMap<String, Retention> =
        topics().iter().map(|topic| (topic.name.to_owned(), topic.retention)).collect();
    for part in parts {
        let named = [part.input, part.control.as_str()].into_iter().chain(part.outputs.iter().copied());
        for name in named.filter(|name| !name.contains('*')) {
            retentions.entry(name.to_owned()).or_insert_with(|| retention_of(name));
        }
    }
    retentions.into_iter().map(|(name, retention)| TopicPlan { name, partitions: PARTITIONS, retention }).collect()
}

/// Events are the book and stay; commands, inboxes and control go.
fn retention_of(name: &str) -> Retention {
    if name.contains(".events.") { Retention::Forever } else { Retention::Fortnight }
}

/// Compares what was seen with the plan.
pub(crate) fn differences(plan: &[TopicPlan], seen: &[TopicSeen]) -> Vec<Difference> {
    plan.iter()
        .filter_map(|planned| {
            let topic = planned.name.clone();
            match seen.iter().find(|seen| seen.name == planned.name) {
                None => Some(Difference::Missing { topic }),
                Some(seen) if seen.partitions != usize::from(planned.partitions) => {
                    Some(Difference::Partitions { topic, expected: planned.partitions, found: seen.partitions })
                }
                Some(_) => None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn planned(name: &str) -> TopicPlan {
        TopicPlan { name: name.to_owned(), partitions: 8, retention: retention_of(name) }
    }

    #[test]
    fn a_missing_topic_and_a_wrong_partition_count_are_told_apart() {
        let seen = |name: &str, partitions| TopicSeen { name: name.to_owned(), id: Uuid::nil(), partitions };
        let plan = [planned("a.b.events.v1"), planned("a.b.commands.v1"), planned("a.b.control.v1")];
        let found = differences(&plan, &[seen("a.b.events.v1", 8), seen("a.b.commands.v1", 9)]);
        assert_eq!(
            found,
            [
                Difference::Partitions { topic: "a.b.commands.v1".to_owned(), expected: 8, found: 9 },
                Difference::Missing { topic: "a.b.control.v1".to_owned() },
            ]
        );
    }

    #[test]
    fn only_events_are_kept_forever() {
        assert_eq!(planned("a.b.events.v1").retention, Retention::Forever);
        assert_eq!(planned("a.b.inbox.v1").retention, Retention::Fortnight);
    }
}
