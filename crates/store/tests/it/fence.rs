//! Who lost the partition writes nothing, whatever the interleaving.

use anyhow::Result;
use daybook_engine::{Commit, CommitError, Load, OutboxRow, PARTITIONS, PartitionCommit, RowKey};
use daybook_store::PartStore;

use crate::bench::{Bench, id, next, of_partition, state};

/// Rounds of two writers racing; each is one chance for a deadlock.
const ROUNDS: u64 = 300;

#[tokio::test]
async fn a_writer_that_was_replaced_writes_nothing_and_is_told_where() -> Result<()> {
    let bench = Bench::new().await?;
    let (old, new) = (bench.part().await?, bench.part().await?);
    let (first, second) = (old.claim(1).await?.value, old.claim(2).await?.value);
    let taken = new.claim(2).await?.value;
    assert_eq!(taken.version, second.version + 1);

    let row = |partition, number| state(partition, RowKey::entity(id(number)), 1, None);
    let commit =
        Commit { partitions: vec![next(&first), next(&second)], rows: vec![row(1, 1), row(2, 2)], ..Commit::default() };
    assert_eq!(old.commit(&commit).await.err(), Some(CommitError::Fenced(vec![2])));
    let load = Load { rows: vec![(1, RowKey::entity(id(1))), (2, RowKey::entity(id(2)))], ..Load::default() };
    assert!(new.load(&load).await.expect("loaded").value.rows.is_empty());
    let rest = Commit { rows: vec![row(1, 1)], ..of_partition(next(&first)) };
    assert!(old.commit(&rest).await.is_ok(), "the other partition is still its own");
    assert_eq!(old.commit(&rest).await.err(), Some(CommitError::Fenced(vec![1])), "a version is good for one commit");
    Ok(())
}

#[tokio::test]
async fn of_two_writers_one_wins_each_round_and_neither_waits_in_a_circle() -> Result<()> {
    let bench = Bench::new().await?;
    let (one, other) = (bench.part().await?, bench.part().await?);
    let mut partitions = Vec::new();
    for partition in 0..PARTITIONS {
        partitions.push(next(&one.claim(partition).await?.value));
    }
    let mut backward = partitions.clone();
    backward.reverse();
    for round in 1..=ROUNDS {
        let (by_one, by_other) = (batch(&partitions, round, 1), batch(&backward, round, 2));
        let (first, second) = futures::join!(one.commit(&by_one), other.commit(&by_other));
        let winner = match (first, second) {
            (Ok(_), Err(CommitError::Fenced(_))) => 1,
            (Err(CommitError::Fenced(_)), Ok(_)) => 2,
            outcome => panic!("round {round}: {outcome:?}"),
        };
        assert_eq!(written_by(&one, round).await, [winner], "round {round}");
        for partition in partitions.iter_mut().chain(&mut backward) {
            partition.version += 1;
            partition.out_seq = round;
        }
    }
    let claimed = one.claim(0).await?.value;
    assert_eq!((claimed.out_seq, claimed.outbox.len() as u64), (ROUNDS, ROUNDS), "gapless, without doubles");
    Ok(())
}

fn batch(partitions: &[PartitionCommit], round: u64, writer: u128) -> Commit {
    let mut partitions = partitions.to_vec();
    let outbox = |partition: &mut PartitionCommit| {
        partition.out_seq = round;
        OutboxRow { partition: partition.partition, first_seq: round, last_seq: round, messages: Default::default() }
    };
    let outbox = partitions.iter_mut().map(outbox).collect();
    let rows = vec![state(0, RowKey::part(id(round.into()), id(writer)), round, None)];
    Commit { partitions, rows, outbox, ..Commit::default() }
}

async fn written_by(part: &PartStore, round: u64) -> Vec<u128> {
    let key = |writer| (0, RowKey::part(id(round.into()), id(writer)));
    let load = Load { rows: vec![key(1), key(2)], ..Load::default() };
    let loaded = part.load(&load).await.expect("loaded").value;
    loaded.rows.iter().map(|(key, _)| key.part.as_u128()).collect()
}
