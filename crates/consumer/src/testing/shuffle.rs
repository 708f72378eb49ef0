use std::collections::BTreeMap;
use std::sync::Arc;

use daybook_events::{Family, Shard, Timestamp};
use uuid::Uuid;

use super::{Bench, Tables};
use crate::{Part, Projection};

const SHUFFLES: u64 = 64;

/// Projects the events in many orders, as partitions may deliver them: those of one key keep theirs. Whatever
/// the order, the rows must come out equal. Returns them.
///
/// # Panics
/// When they don't, or when the projection parks an event.
pub fn shuffle_proof<P: Projection>(events: Vec<P::Event>) -> Tables
where
    P::Event: Family,
{
    let part = Part::projection::<P>();
    // Time, id and number belong to an event, however it is delivered.
    let numbered: Vec<_> = (1_i64..).zip(events).collect();
    let in_order = project(&part, &numbered);
    for seed in 0..SHUFFLES {
        let shuffled = project(&part, &shuffle(seed, &numbered));
        assert!(
            shuffled == in_order,
            "{}: shuffle {seed} gives other rows\n{shuffled:#?}\nthan the order given\n{in_order:#?}",
            P::NAME,
        );
    }
    in_order
}

fn project<E: Family>(part: &Part, events: &[(i64, E)]) -> Tables {
    let mut bench = Bench::of(Arc::clone(&part.leaf));
    for (number, event) in events {
        bench.now = Timestamp::from_millis(*number);
        bench.next_id = Uuid::from_u128(u128::from(number.unsigned_abs()));
        bench.shard = Some(numbered(number.unsigned_abs()));
        bench.family(event).unwrap_or_else(|fault| panic!("{}: {fault:?}", event.name()));
    }
    bench.tables
}

fn numbered(seq: u64) -> Shard {
    Shard { instance: "shuffled".into(), partition: 0, incarnation: 1, seq, prev: seq - 1 }
}

/// Takes the next event of a key drawn at random, until none is left.
fn shuffle<E: Family>(seed: u64, events: &[(i64, E)]) -> Vec<(i64, E)> {
    let mut queues = BTreeMap::<Uuid, Vec<(i64, E)>>::new();
    for (number, event) in events.iter().rev() {
        queues.entry(event.key()).or_default().push((*number, event.clone()));
    }
    let mut queues: Vec<_> = queues.into_values().collect();
    let mut random = seed;
    let mut shuffled = Vec::with_capacity(events.len());
    while !queues.is_empty() {
        let drawn = draw(&mut random, queues.len());
        shuffled.extend(queues[drawn].pop());
        if queues[drawn].is_empty() {
            queues.swap_remove(drawn);
        }
    }
    shuffled
}

/// SplitMix64.
fn draw(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let below = u64::try_from(below).expect("a count of queues fits into 64 bits");
    usize::try_from((mixed ^ (mixed >> 31)) % below).expect("it is below a usize")
}
