//! The tasks of a producer: one that asks for leaders, and one for each broker.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kafka_protocol::messages::TopicName;
use tokio::task::JoinSet;
use tracing::warn;

use super::batch::Batch;
use super::connection::{Address, Answers, Cluster, Connection};
use super::queues::{BrokerId, Taken, Told};
use super::{Failure, Shared};
use crate::Position;

/// Between two attempts to find out who leads: doubled each time.
const PAUSE_LEAST: Duration = Duration::from_millis(50);
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// Where the brokers listen, as they said last.
type Addresses = Mutex<BTreeMap<BrokerId, Address>>;

/// Sends what waits, until the producer ends.
pub(super) fn run(shared: Arc<Shared>) -> impl Future<Output = ()> {
    // Made here: a runtime may end before it has begun with the task.
    let ending = Ending(shared);
    async move {
        // Ends with its tasks.
        ending.0.ended.run_until_cancelled(find_leaders(&ending.0)).await;
    }
}

/// However the sending ends: nothing more is taken, and whoever still waits hears that nobody will answer.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ended.cancel();
        self.0.queues().drain();
    }
}

/// Finds the leaders of partitions that messages wait for, and begins to send to each that was not known.
async fn find_leaders(shared: &Arc<Shared>) {
    let addresses = Arc::new(Addresses::default());
    let mut brokers = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.leaders_wanted.notified() => {}
            Some(ended) = brokers.join_next() => ended.expect("who sends to a broker ends with the producer"),
        }
        let mut pause = PAUSE_LEAST;
        loop {
            give_up(shared.queues().too_old(Instant::now()));
            let topics = shared.queues().leaderless();
            if topics.is_empty() {
                break;
            }
            if pause == PAUSE_MOST {
                warn!(
                    topics = topics.len(),
                    "messages wait for partitions that nobody leads, as far as the brokers tell"
                );
            }
            match ask_any(shared, &addresses, &topics).await {
                Ok(cluster) => {
                    let mut known = addresses.lock().unwrap_or_else(PoisonError::into_inner);
                    for (broker, address) in cluster.brokers {
                        if known.insert(broker, address).is_none() {
                            brokers.spawn(serve(Arc::clone(shared), broker, Arc::clone(&addresses)));
                        }
                    }
                    drop(known);
                    for (topic, seen) in cluster.topics {
                        let (told, woken) = shared.queues().seen(&topic, &seen, Instant::now());
                        told.into_iter().for_each(tell);
                        woken.into_iter().for_each(|woken| shared.wake(woken));
                    }
                }
                Err(failed) => {
                    warn!(%failed, topics = topics.len(), "no broker tells who leads the partitions of topics")
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MOST);
        }
    }
}

/// Asks one broker after the other, those of the settings first.
async fn ask_any(shared: &Shared, addresses: &Addresses, topics: &[TopicName]) -> io::Result<Cluster> {
    let known: Vec<Address> = addresses.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in shared.bootstrap.iter().chain(&known) {
        let asked = async { Connection::open(address).await?.metadata(topics).await };
        match asked.await {
            Ok(cluster) => return Ok(cluster),
            Err(failed) => last = failed,
        }
    }
    Err(last)
}

/// Sends to one broker what it leads.
async fn serve(shared: Arc<Shared>, broker: BrokerId, addresses: Arc<Addresses>) {
    let wake = shared.queues().wake_of(broker);
    let mut connection = None;
    loop {
        let (mut taken, old) = shared.queues().take(broker, Instant::now());
        give_up(old);
        if taken.is_empty() {
            match &mut connection {
                None => wake.notified().await,
                Some(open) => {
                    let is_closed = tokio::select! {
                        () = wake.notified() => false,
                        () = Connection::closed(open) => true,
                    };
                    if is_closed {
                        connection = None;
                    }
                }
            }
            continue;
        }
        match produce(&mut connection, broker, &addresses, &mut taken).await {
            Ok(answers) => answered(&shared, taken, &answers),
            Err(failed) => {
                warn!(%failed, broker, batches = taken.len(), "a broker was not reached; what it was sent is sent again");
                connection = None;
                let woken = shared.queues().lost(broker, taken);
                shared.wake(woken);
            }
        }
    }
}

async fn produce(
    connection: &mut Option<Connection>,
    broker: BrokerId,
    addresses: &Addresses,
    taken: &mut [Taken],
) -> io::Result<Answers> {
    let open = match connection {
        Some(open) => open,
        None => {
            let address = addresses.lock().unwrap_or_else(PoisonError::into_inner).get(&broker).cloned();
            let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
            connection.insert(Connection::open(&address).await?)
        }
    };
    open.produce(taken).await
}

fn answered(shared: &Shared, taken: Vec<Taken>, answers: &Answers) {
    for taken in taken {
        // A batch of which the broker says nothing is sent again.
        let answer = answers.get(&taken.place).copied().unwrap_or(Err(kafka_protocol::ResponseError::NetworkException));
        if let Err(error) = answer {
            warn!(topic = %taken.topic.0, partition = taken.place.partition, %error, "a broker did not take messages");
        }
        let (told, woken) = shared.queues().answered(taken, answer);
        told.into_iter().for_each(tell);
        shared.wake(woken);
    }
}

/// Tells whoever waits for the messages of a batch.
fn tell((batch, told): (Batch, Told)) {
    let told = told.map_err(Failure::Refused);
    for (after, ticket) in (0..).zip(batch.into_tickets()) {
        ticket.answer(told.map(|first| Position { offset: first.offset + after, ..first }));
    }
}

fn give_up(old: Vec<Batch>) {
    for ticket in old.into_iter().flat_map(Batch::into_tickets) {
        ticket.answer(Err(Failure::Late));
    }
}
