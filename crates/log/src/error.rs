//! What goes wrong with the log: passing trouble, and refusals that somebody must cure.

use rdkafka::error::KafkaError;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The brokers could not be asked, or did not answer as they should. Trying again may help.
    #[error("cannot {during}: {source}")]
    Kafka { during: &'static str, source: KafkaError },
    /// The registry could not be asked. Trying again may help.
    #[error("the schema registry cannot be reached: {0}")]
    RegistryUnreachable(String),
    /// An answer came too late. Trying again may help.
    #[error("no answer in time to: {0}")]
    Late(&'static str),
    /// Trying again does not help.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Error {
    pub(crate) fn kafka(during: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { during, source }
    }

    /// Whether the same may succeed later without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// Why the log cannot be used as it is. Each names the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("topics are missing: {}; create them with: daybook topics apply", topics.join(", "))]
    TopicsMissing { topics: Vec<String> },
    #[error(
        "topic {topic} has {found} partitions where the contract says {expected}; keys would change their partition, so a \
         topic never grows in place: copy it into a new topic with {expected} partitions"
    )]
    PartitionCount { topic: String, expected: u16, found: usize },
    #[error("the broker refuses to create topic {topic}: {reason}")]
    TopicRefused { topic: String, reason: String },
    #[error(
        "the registry refuses the schema of subject {subject} as incompatible: {said}; add fields with a default and remove \
         only fields that have one, or give the message a new name"
    )]
    SchemaIncompatible { subject: String, said: String },
    #[error(
        "the registry gives {full_name} the id {first} in one subject and {second} in another; it must give equal schemas equal \
         ids (Apicurio: leave registry.ccompat.legacy-id-mode.enabled off)"
    )]
    SchemaIdsDiffer { full_name: String, first: u32, second: u32 },
    #[error(
        "the registry answers {status} to {what}: {said}; check that the registry setting is the base of a Confluent API"
    )]
    RegistryAnswer { what: String, status: u16, said: String },
    #[error(
        "group {group} wants to go on at an offset that topic {topic} no longer (or not yet) has: retention overtook the part, or \
         the topic was recreated; restore a copy of the database that is not older than what the topic keeps, then: \
         daybook recover {group}"
    )]
    OffsetsGone { group: String, topic: String },
    #[error(
        "topic {topic}, partition {partition}: records are needed from offset {from} on, and the topic has {start} to {end}; \
         they are gone: restore a copy of the database that is not older than what the topic keeps"
    )]
    RecordsGone { topic: String, partition: u16, from: i64, start: i64, end: i64 },
    #[error("group {group} has {members} members; end every process that runs the part, then recover it")]
    GroupInUse { group: String, members: usize },
    #[error("group {group}: another process took the same instance name; give each replica its own instance setting")]
    InstanceTaken { group: String },
    #[error("group {group}: the consumer failed for good ({code}); restart the process")]
    ConsumerFailed { group: String, code: String },
    #[error("the log settings are refused: {0}")]
    Settings(String),
}
