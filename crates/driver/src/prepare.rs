//! What is checked and made before a part reads its first record.

use std::collections::HashMap;
use std::time::Duration;

use daybook_engine::{PARTITIONS, Spec};
use daybook_log::{Log, Refusal, TopicSeen, Witness};
use daybook_service::Drain;
use daybook_store::{PartStore, Seen, SeenTopic, StartFrom, Store};
use futures::future::try_join_all;
use tracing::warn;

use crate::{Error, behind};

/// How long a part waits before it tries again what failed for a passing reason.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What a part starts with.
pub(crate) struct Prepared {
    pub store: PartStore,
    /// Highest numbers of its shards that were found in the book.
    pub book: HashMap<u16, Witness>,
}

/// Checks topics and identity, makes the part's tables, and looks into the book. Tries again for as long as the reason is a passing one.
/// `None`: the process drains.
///
/// # Errors
/// A refusal, with its cure.
pub(crate) async fn prepare(
    spec: &Spec,
    log: &Log,
    store: &Store,
    from: Option<StartFrom>,
    drain: &Drain,
) -> Result<Option<Prepared>, Error> {
    let part = spec.name;
    loop {
        let tried = async {
            let seen = look(spec, log).await.map_err(Error::log(part))?;
            let store = store.prepare(spec, &seen, from).await.map_err(Error::store(part))?;
            let book = behind::numbers_in_the_book(spec, log).await.map_err(Error::log(part))?;
            Ok::<_, Error>(Prepared { store, book })
        };
        let failed = tokio::select! {
            prepared = tried => match prepared {
                Err(failed) if failed.is_passing() => failed,
                Err(refused) => return Err(refused),
                Ok(prepared) => return Ok(Some(prepared)),
            },
            () = drain.begun() => return Ok(None),
        };
        warn!(part, %failed, "a part cannot start yet; trying again");
        tokio::select! {
            () = tokio::time::sleep(TRY_AGAIN) => {}
            () = drain.begun() => return Ok(None),
        }
    }
}

/// The log as it is now, its partition counts checked.
pub(crate) async fn look(spec: &Spec, log: &Log) -> Result<Seen, daybook_log::Error> {
    let names = [spec.input.to_owned(), spec.control.clone()];
    let (cluster_id, topics) = tokio::try_join!(log.admin().cluster_id(), log.admin().check(&names, PARTITIONS))?;
    let [data, control] = topics.as_slice() else {
        return Err(Refusal::TopicsMissing { topics: names.to_vec() }.into());
    };
    let (data, control) = tokio::try_join!(seen(log, data), seen(log, control))?;
    Ok(Seen { cluster_id, data, control })
}

async fn seen(log: &Log, topic: &TopicSeen) -> Result<SeenTopic, daybook_log::Error> {
    let asked = (0..PARTITIONS).map(|partition| log.admin().ends(&topic.name, partition));
    let ends = try_join_all(asked).await?;
    Ok(SeenTopic {
        name: topic.name.clone(),
        id: topic.id.to_string(),
        offsets: ends.into_iter().map(|ends| (ends.start, ends.end)).collect(),
    })
}
