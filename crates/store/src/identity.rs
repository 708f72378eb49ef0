//! Whether this database belongs to this log. Pure: what is stored is compared with what is seen.

use daybook_engine::PARTITIONS;

/// The log as the database knows it since the part's birth.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Identity {
    pub cluster_id: String,
    /// Topics are recreated under their old name, but never under their old id.
    pub data_topic_id: String,
    pub control_topic_id: String,
}

/// One topic as it stands in the log now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenTopic {
    pub name: String,
    pub id: String,
    /// Start and end of each partition: the first offset still there and the next to be written.
    pub offsets: Vec<(i64, i64)>,
}

impl SeenTopic {
    /// Whether anything was ever written to it.
    fn was_written(&self) -> bool {
        self.offsets.iter().any(|(_, end)| *end > 0)
    }
}

/// The log as it is seen now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub cluster_id: String,
    pub data: SeenTopic,
    pub control: SeenTopic,
}

impl Seen {
    pub fn identity(&self) -> Identity {
        Identity {
            cluster_id: self.cluster_id.clone(),
            data_topic_id: self.data.id.clone(),
            control_topic_id: self.control.id.clone(),
        }
    }
}

/// Where a part begins whose topics were written before it had a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// At the first record still there. Where earlier ones are gone, the first number seen of a sender is accepted.
    Beginning,
    /// At offset 0, as if it had been there when the topics were born: every number is expected.
    Birth,
    /// At the end: what was written before is none of its business. The first number seen of a sender is accepted.
    End,
}

impl std::str::FromStr for StartFrom {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "birth" => Ok(Self::Birth),
            "end" => Ok(Self::End),
            _ => Err("expected beginning, birth or end"),
        }
    }
}

/// Why a part must not start. The text says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "{part}: the database belongs to cluster {stored}, but the brokers are cluster {seen}; \
         connect to the right brokers, or give this cluster a database of its own"
    )]
    OtherCluster { part: String, stored: String, seen: String },
    #[error(
        "{part}: topic {topic} is not the one this database has applied (id {stored}, now {seen}): it was deleted and made anew; \
         restore the topic, or give the new one an empty database"
    )]
    OtherTopic { part: String, topic: String, stored: String, seen: String },
    #[error(
        "{part}: topic {topic} has {found} partitions, and {PARTITIONS} are part of the contract; \
         make a topic with {PARTITIONS} partitions and copy it over: partitions are never added to a topic in use"
    )]
    PartitionCount { part: String, topic: String, found: usize },
    #[error(
        "{part}: topic {topic} was written before this database knew the part; say where to begin: \
         --from beginning (the first record still there), --from birth (offset 0, every number expected) or --from end"
    )]
    NoBeginning { part: String, topic: String },
    #[error("{part}: --from birth needs topic {topic} from offset 0, but it begins at {start}; use --from beginning")]
    BirthIsGone { part: String, topic: String, start: i64 },
    #[error(
        "{part}: the database has schema version {found}, and this program knows versions up to {known}; \
         run a newer daybook, or restore the database from before the upgrade"
    )]
    NewerDatabase { part: String, found: i32, known: i32 },
    #[error(
        "{part}: the database has schema version {found}, from which there is no way to {known}; \
         run the last release that knows version {found} first"
    )]
    OlderDatabase { part: String, found: i32, known: i32 },
    #[error("{part}: the database has rows for {found} partitions instead of {PARTITIONS}; restore it from a backup")]
    PartitionRows { part: String, found: usize },
    #[error(
        "{part}: its tables are declared otherwise than when they were made; make a new generation with `daybook rebuild {part}`"
    )]
    TablesChanged { part: String },
    #[error("{part}: table {table} is already served by {owner}; give it another name")]
    TableTaken { part: String, table: String, owner: String },
}

/// Compares the log as stored at the part's birth with the log as seen now.
///
/// # Errors
/// The first difference, with its cure.
pub fn check_identity(part: &str, stored: &Identity, seen: &Seen) -> Result<(), Refusal> {
    if stored.cluster_id != seen.cluster_id {
        return Err(Refusal::OtherCluster {
            part: part.to_owned(),
            stored: stored.cluster_id.clone(),
            seen: seen.cluster_id.clone(),
        });
    }
    for (stored_id, topic) in [(&stored.data_topic_id, &seen.data), (&stored.control_topic_id, &seen.control)] {
        if *stored_id != topic.id {
            return Err(Refusal::OtherTopic {
                part: part.to_owned(),
                topic: topic.name.clone(),
                stored: stored_id.clone(),
                seen: topic.id.clone(),
            });
        }
    }
    Ok(())
}

/// Both topics have the partitions of the contract.
///
/// # Errors
/// [`Refusal::PartitionCount`] for the first that has not.
pub fn check_partitions(part: &str, seen: &Seen) -> Result<(), Refusal> {
    match [&seen.data, &seen.control].into_iter().find(|topic| topic.offsets.len() != usize::from(PARTITIONS)) {
        Some(topic) => Err(Refusal::PartitionCount {
            part: part.to_owned(),
            topic: topic.name.clone(),
            found: topic.offsets.len(),
        }),
        None => Ok(()),
    }
}

/// Where one partition of a newborn part begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub next_data: i64,
    pub next_control: i64,
    pub accepts_first: bool,
}

/// Where a part without rows begins, one entry per partition.
pub(crate) fn beginnings(part: &str, seen: &Seen, from: Option<StartFrom>) -> Result<Vec<Beginning>, Refusal> {
    let from = match from {
        Some(from) => from,
        None => match [&seen.data, &seen.control].into_iter().find(|topic| topic.was_written()) {
            Some(topic) => {
                return Err(Refusal::NoBeginning { part: part.to_owned(), topic: topic.name.clone() });
            }
            None => StartFrom::Birth,
        },
    };
    if from == StartFrom::Birth {
        for topic in [&seen.data, &seen.control] {
            if let Some((start, _)) = topic.offsets.iter().find(|(start, _)| *start > 0) {
                return Err(Refusal::BirthIsGone { part: part.to_owned(), topic: topic.name.clone(), start: *start });
            }
        }
    }
    let beginning = |(data, control): (&(i64, i64), &(i64, i64))| match from {
        StartFrom::Beginning | StartFrom::Birth => {
            Beginning { next_data: data.0, next_control: control.0, accepts_first: data.0 > 0 || control.0 > 0 }
        }
        StartFrom::End => Beginning { next_data: data.1, next_control: control.1, accepts_first: true },
    };
    Ok(seen.data.offsets.iter().zip(&seen.control.offsets).map(beginning).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(start: i64, end: i64) -> Seen {
        let topic = |name: &str| SeenTopic {
            name: name.to_owned(),
            id: format!("{name}-1"),
            offsets: vec![(start, end); usize::from(PARTITIONS)],
        };
        Seen { cluster_id: "cluster-1".to_owned(), data: topic("data"), control: topic("control") }
    }

    #[test]
    fn another_cluster_or_topic_is_refused() {
        let stored = seen(0, 5).identity();
        assert_eq!(check_identity("courses", &stored, &seen(0, 9)), Ok(()));

        let mut other = seen(0, 5);
        other.cluster_id = "cluster-2".to_owned();
        assert!(matches!(check_identity("courses", &stored, &other), Err(Refusal::OtherCluster { .. })));

        let mut other = seen(0, 5);
        other.control.id = "control-2".to_owned();
        let refusal = check_identity("courses", &stored, &other);
        assert!(matches!(&refusal, Err(Refusal::OtherTopic { topic, .. }) if topic == "control"));
    }

    #[test]
    fn a_changed_partition_count_is_refused() {
        let mut grown = seen(0, 5);
        grown.data.offsets.push((0, 0));
        assert!(matches!(check_partitions("courses", &grown), Err(Refusal::PartitionCount { found: 9, .. })));
        assert_eq!(check_partitions("courses", &seen(0, 5)), Ok(()));
    }

    #[test]
    fn an_empty_log_is_begun_at_its_birth_and_a_written_one_only_when_told_where() {
        let first = |seen: Seen, from| beginnings("courses", &seen, from).map(|all| all[0]);
        let at = |next, accepts_first| Ok(Beginning { next_data: next, next_control: next, accepts_first });
        assert_eq!(first(seen(0, 0), None), at(0, false));
        assert!(matches!(first(seen(0, 5), None), Err(Refusal::NoBeginning { .. })));
        assert_eq!(first(seen(0, 5), Some(StartFrom::Beginning)), at(0, false));
        assert_eq!(first(seen(3, 5), Some(StartFrom::Beginning)), at(3, true));
        assert_eq!(first(seen(0, 5), Some(StartFrom::Birth)), at(0, false));
        assert!(matches!(first(seen(3, 5), Some(StartFrom::Birth)), Err(Refusal::BirthIsGone { start: 3, .. })));
        assert_eq!(first(seen(0, 5), Some(StartFrom::End)), at(5, true));
    }
}
