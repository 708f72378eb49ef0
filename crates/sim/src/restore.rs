//! A copy of the database, made at some moment of a run, is recovered from the book at its end, and has to come to what the
//! database itself has come to.

use std::sync::Arc;

use daybook_engine::{
    BookMessage, CommitError, Evidence, Leaf, Limits, PARTITIONS, Recovered, Recovery, RecoveryStep, Stream,
};
use daybook_events::StaticSchemas;

use crate::book::Book;
use crate::database::Tables;
use crate::operator::Operator;
use crate::run::{Settings, TROUBLE_AFTER_MS, begin};

/// What came of recovering every part.
#[derive(Clone, Debug, Default)]
pub struct Restoration {
    pub behind: u64,
    pub reproduced: u64,
    pub made_anew: u64,
    /// Where the copy has come to something else than the database, or could not be recovered.
    pub differences: Vec<String>,
}

/// Runs one seed, with a copy made after `copied_after_ms` of simulated time, and recovers the copy.
pub fn restore(settings: &Settings, copied_after_ms: i64) -> Restoration {
    let mut world = begin(settings);
    let began = world.now;
    let calm_ms = copied_after_ms + TROUBLE_AFTER_MS;
    let mut operator = Operator::new(&mut world);
    let (mut copies, mut is_calm) = (None, false);
    while world.step() {
        operator.look(&mut world);
        let ms = world.now.ms_since(began);
        if copies.is_none() && ms > copied_after_ms {
            copies = Some(world.tables.clone());
        }
        if !is_calm && ms > calm_ms {
            world.calm();
            is_calm = true;
        }
    }
    let mut restoration = Restoration::default();
    let now = world.database_now();
    for ((leaf, copy), live) in world.leaves().iter().zip(copies.unwrap_or_default()).zip(&world.tables) {
        let mut part = Part { leaf, copy, book: &world.book, now };
        for partition in 0..PARTITIONS {
            part.recover(partition, &mut restoration);
        }
        let name = leaf.spec().name;
        let differing = part.copy.state().iter().find(|(key, row)| live.state().get(*key) != Some(*row));
        if let Some((key, _)) = differing {
            restoration.differences.push(format!("{name}: row {key:?} has come to something else"));
        }
        if let Some((key, _)) = live.state().iter().find(|(key, _)| !part.copy.state().contains_key(*key)) {
            restoration.differences.push(format!("{name}: row {key:?} is missing"));
        }
    }
    restoration
}

struct Part<'a> {
    leaf: &'a Arc<dyn Leaf>,
    copy: Tables,
    book: &'a Book,
    now: daybook_events::Timestamp,
}

impl Part<'_> {
    fn recover(&mut self, partition: u16, restoration: &mut Restoration) {
        match self.try_to_recover(partition) {
            Ok(None) => {}
            Ok(Some(recovered)) => {
                restoration.behind += 1;
                restoration.reproduced += recovered.reproduced;
                restoration.made_anew += recovered.made_anew;
            }
            Err(refused) => restoration.differences.push(format!("{}: {refused}", self.leaf.spec().name)),
        }
    }

    fn try_to_recover(&mut self, partition: u16) -> Result<Option<Recovered>, String> {
        let Some(claimed) = self.copy.claim(partition) else { return Ok(None) };
        let spec = self.leaf.spec();
        let read = |topic: &str, stream, from| self.book.read(topic, stream, partition, from, usize::MAX);
        let evidence = Evidence {
            published: self.published(),
            data: read(spec.input, Stream::Data, claimed.next_data),
            control: read(&spec.control, Stream::Control, claimed.next_control),
            witness: None,
        };
        let leaf = Arc::clone(self.leaf);
        let recovery = Recovery::new(leaf, Arc::new(StaticSchemas), Limits::default(), claimed, evidence, self.now);
        let Some(mut recovery) = recovery.map_err(|refused| refused.to_string())? else { return Ok(None) };
        loop {
            match recovery.step().map_err(|refused| refused.to_string())? {
                RecoveryStep::Load(load) => {
                    recovery.loaded(self.copy.load(&load)).map_err(|refused| refused.to_string())?;
                }
                RecoveryStep::Commit(commit) => match self.copy.commit(&commit) {
                    Ok(()) => recovery.committed(),
                    Err(CommitError::Data { sqlstate }) => {
                        recovery.refused(sqlstate).map_err(|refused| refused.to_string())?;
                    }
                    Err(refused) => return Err(format!("{refused:?}")),
                },
                RecoveryStep::Done(recovered) => return Ok(Some(recovered)),
            }
        }
    }

    fn published(&self) -> Vec<BookMessage> {
        let mut published = Vec::new();
        for topic in self.book.topics() {
            for partition in 0..PARTITIONS {
                let records = self.book.read(topic, Stream::Data, partition, 0, usize::MAX);
                published.extend(records.into_iter().map(|record| BookMessage { topic: topic.into(), record }));
            }
        }
        published
    }
}
