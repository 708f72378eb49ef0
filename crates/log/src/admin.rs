//! Questions to the brokers, and the creation of topics.

use std::sync::Arc;
use std::time::Duration;

use daybook_engine::PARTITIONS;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::Client;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::{Quiet, base};
use crate::native;
use crate::topics::differences;
use crate::{Committed, Difference, Error, Refusal, Settings, TopicPlan};

/// How long one question may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the broker may take to create topics.
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a question waits before it is asked again: brokers know of a change a moment after the controller.
const ASK_POLL: Duration = Duration::from_millis(20);
/// Copies that must have a record before it is acknowledged, where there are at least three.
const IN_SYNC_MIN: &str = "2";
const REPLICATION_FOR_IN_SYNC_MIN: u16 = 3;

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSeen {
    /// Without prefix.
    pub name: String,
    /// Another one after the topic was deleted and created anew.
    pub id: Uuid,
    pub partitions: usize,
}

/// Where a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Offset of the oldest record that is kept.
    pub start: i64,
    /// Offset that the next record gets.
    pub end: i64,
}

/// A client that only asks. Its questions never wait behind a fetch, because it does not fetch.
pub struct Admin {
    settings: Settings,
    client: Arc<AdminClient<Quiet>>,
}

impl Admin {
    /// Does not wait for a connection.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let mut config = base(settings);
        // rdkafka never drains this client's log queue, so nothing may go in.
        config.set_log_level(RDKafkaLogLevel::Emerg);
        let client = AdminClient::from_config_and_context(&config, Quiet)
            .map_err(|refused| Refusal::Settings(refused.to_string()))?;
        Ok(Self { settings: settings.clone(), client: Arc::new(client) })
    }

    /// Id of the cluster, fixed when its storage was formatted.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn cluster_id(&self) -> Result<String, Error> {
        self.ask(|client| client.fetch_cluster_id(ANSWER_TIMEOUT).ok_or(Error::Late("what is the cluster's id"))).await
    }

    /// Processes that are members of a part's group; one that was killed is a member until its session ends.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn members(&self, part: &str) -> Result<usize, Error> {
        let group = self.settings.wire(part);
        let members = move |client: &Client<Quiet>| {
            let groups = client
                .fetch_group_list(Some(&group), ANSWER_TIMEOUT)
                .map_err(Error::kafka("ask for the members of a group"))?;
            Ok(groups.groups().iter().filter(|found| found.name() == group).map(|found| found.members().len()).sum())
        };
        self.ask(members).await
    }

    /// The topics among `names` that exist, in the same order.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn describe(&self, names: &[String]) -> Result<Vec<TopicSeen>, Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let wire: Vec<String> = names.iter().map(|name| self.settings.wire(name)).collect();
        let described = self
            .ask(move |client| {
                native::describe_topics(client, &wire, ANSWER_TIMEOUT).map_err(Error::kafka("describe topics"))
            })
            .await?;
        let seen = names.iter().filter_map(|name| {
            let wire = self.settings.wire(name);
            let (id, partitions) = described.iter().find(|found| found.name == wire)?.topic?;
            Some(TopicSeen { name: name.clone(), id, partitions })
        });
        Ok(seen.collect())
    }

    /// In what the brokers differ from the plan.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn diff(&self, plan: &[TopicPlan]) -> Result<Vec<Difference>, Error> {
        let names: Vec<String> = plan.iter().map(|topic| topic.name.clone()).collect();
        Ok(differences(plan, &self.describe(&names).await?))
    }

    /// Creates the topics of the plan that are missing and answers their names. Leaves those that exist as they are.
    ///
    /// # Errors
    /// When no broker answers in time; a refusal when a topic cannot be created or has another number of partitions.
    pub async fn apply(&self, plan: &[TopicPlan]) -> Result<Vec<String>, Error> {
        let mut missing = Vec::new();
        for difference in self.diff(plan).await? {
            match difference {
                Difference::Missing { topic } => missing.push(topic),
                Difference::Partitions { topic, expected, found } => {
                    return Err(Refusal::PartitionCount { topic, expected, found }.into());
                }
            }
        }
        if missing.is_empty() {
            return Ok(missing);
        }
        let wanted = plan.iter().filter(|planned| missing.contains(&planned.name)).collect::<Vec<_>>();
        self.create(&wanted).await?;
        Ok(missing)
    }

    async fn create(&self, wanted: &[&TopicPlan]) -> Result<(), Error> {
        let texts: Vec<(String, String, i32)> = wanted
            .iter()
            .map(|planned| {
                (self.settings.wire(&planned.name), planned.retention.ms().to_string(), i32::from(planned.partitions))
            })
            .collect();
        let copies = i32::from(self.settings.replication);
        let topics: Vec<NewTopic<'_>> = texts
            .iter()
            .map(|(name, retention_ms, partitions)| {
                let topic =
                    NewTopic::new(name, *partitions, TopicReplication::Fixed(copies)).set("retention.ms", retention_ms);
                if self.settings.replication >= REPLICATION_FOR_IN_SYNC_MIN {
                    topic.set("min.insync.replicas", IN_SYNC_MIN)
                } else {
                    topic
                }
            })
            .collect();
        let options = AdminOptions::new()
            .operation_timeout(Some(CREATE_TIMEOUT))
            .request_timeout(Some(CREATE_TIMEOUT + ANSWER_TIMEOUT));
        let results = self.client.create_topics(&topics, &options).await.map_err(Error::kafka("create topics"))?;
        for result in results {
            match result {
                // Another process was faster.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    return Err(Refusal::TopicRefused { topic, reason: code.to_string() }.into());
                }
            }
        }
        let names: Vec<String> = wanted.iter().map(|planned| planned.name.clone()).collect();
        tokio::time::timeout(CREATE_TIMEOUT, self.until_known(&names))
            .await
            .map_err(|_| Error::Late("are the new topics known"))?
    }

    /// The controller answers before all brokers know.
    async fn until_known(&self, names: &[String]) -> Result<(), Error> {
        while self.describe(names).await?.len() < names.len() {
            tokio::time::sleep(ASK_POLL).await;
        }
        Ok(())
    }

    /// Checks that all of the topics exist with the contract's number of partitions, and answers them in the same order.
    ///
    /// # Errors
    /// When no broker answers in time; a refusal when one is missing or has another number of partitions.
    pub async fn check(&self, names: &[String], expected: u16) -> Result<Vec<TopicSeen>, Error> {
        let seen = self.describe(names).await?;
        let missing: Vec<String> =
            names.iter().filter(|name| !seen.iter().any(|topic| topic.name == **name)).cloned().collect();
        if !missing.is_empty() {
            return Err(Refusal::TopicsMissing { topics: missing }.into());
        }
        match seen.iter().find(|topic| topic.partitions != usize::from(expected)) {
            Some(wrong) => {
                let (topic, found) = (wrong.name.clone(), wrong.partitions);
                Err(Refusal::PartitionCount { topic, expected, found }.into())
            }
            None => Ok(seen),
        }
    }

    /// Start and end of a partition now. A partition that has no leader at the moment is asked again for a while.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn ends(&self, topic: &str, partition: u16) -> Result<Ends, Error> {
        let wire = self.settings.wire(topic);
        let (start, end) = self
            .ask_leaders("ask for the ends of a partition", move |client| {
                client.fetch_watermarks(&wire, i32::from(partition), ANSWER_TIMEOUT)
            })
            .await?;
        Ok(Ends { start, end })
    }

    /// The offset that the next record of each partition gets, for each of these topics: one question, where [`Admin::ends`] takes two for
    /// each partition. Asked again for a while when one has no leader at the moment.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn all_ends(&self, topics: &[&str]) -> Result<Vec<[i64; PARTITIONS as usize]>, Error> {
        let wire: Vec<String> = topics.iter().map(|topic| self.settings.wire(topic)).collect();
        let ends = self
            .ask_leaders("ask for the ends of topics", move |client| {
                native::ends(client, &wire, PARTITIONS, ANSWER_TIMEOUT)
            })
            .await?;
        Ok(ends.as_chunks().0.to_vec())
    }

    /// How far a part has come with a partition, as its group has committed it; `None`: it has committed nothing.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn committed(&self, part: &str, topic: &str, partition: u16) -> Result<Option<Committed>, Error> {
        let (group, wire) = (self.settings.wire(part), self.settings.wire(topic));
        self.ask(move |client| {
            native::committed(client, &group, &wire, partition, ANSWER_TIMEOUT)
                .map_err(Error::kafka("ask what a group has committed"))
        })
        .await
    }

    /// Asks again for as long as a partition has no leader.
    async fn ask_leaders<T: Send + 'static>(
        &self,
        during: &'static str,
        question: impl Fn(&Client<Quiet>) -> KafkaResult<T> + Clone + Send + 'static,
    ) -> Result<T, Error> {
        let until = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let question = question.clone();
            match self.ask(move |client| Ok(question(client))).await? {
                Ok(answer) => return Ok(answer),
                Err(failed) if has_no_leader(&failed) && Instant::now() < until => {
                    tokio::time::sleep(ASK_POLL).await;
                }
                Err(source) => return Err(Error::Kafka { during, source }),
            }
        }
    }

    /// librdkafka's questions block their thread.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client<Quiet>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let client = Arc::clone(&self.client);
        tokio::task::spawn_blocking(move || question(client.inner()))
            .await
            .map_err(|_| Error::Late("a question that was given up because the process ends"))?
    }
}

/// So it is right after a topic was created, and while leaders change.
fn has_no_leader(failed: &KafkaError) -> bool {
    use RDKafkaErrorCode::{LeaderNotAvailable, NotLeaderForPartition};
    let (KafkaError::MetadataFetch(code) | KafkaError::OffsetFetch(code)) = failed else {
        return false;
    };
    matches!(code, NotLeaderForPartition | LeaderNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_questions_for_ends_may_find_a_partition_without_a_leader() {
        let code = RDKafkaErrorCode::NotLeaderForPartition;
        assert!(has_no_leader(&KafkaError::MetadataFetch(code)));
        assert!(has_no_leader(&KafkaError::OffsetFetch(code)));
        assert!(!has_no_leader(&KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownTopic)));
    }
}
