use super::*;

/// What the engine remembers, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    pub partitions: usize,
    pub halted: usize,
    pub queued_bytes: usize,
    pub cached_rows: usize,
    pub unacknowledged: usize,
    pub held: u64,
    pub intents_open: usize,
    pub intents_attention: usize,
    pub blocked_keys: usize,
    /// Partitions of participants that deadlines wait for.
    pub participants_lagging: usize,
    /// 1 while the provider is down: calls are put off, but for one at a time.
    pub breaker_open: usize,
}

impl Engine {
    /// What it remembers of its partitions, for metrics.
    pub fn gauges(&self) -> Gauges {
        let mut gauges = Gauges { breaker_open: usize::from(!self.breaker.is_closed()), ..Gauges::default() };
        for partition in self.partitions.values() {
            let memory = &partition.memory;
            gauges.partitions += usize::from(partition.is_live());
            gauges.halted += usize::from(partition.phase == Phase::Halted);
            gauges.queued_bytes += memory.data.bytes + memory.control.bytes;
            gauges.cached_rows += memory.cache.len();
            gauges.unacknowledged += memory.publisher.unacknowledged();
            gauges.held += memory.held;
            gauges.intents_open += memory.intents.len();
            let attention = memory.intents.values().filter(|open| open.run == Run::Attention);
            gauges.intents_attention += attention.count();
            gauges.blocked_keys += memory.blocked.len();
            gauges.participants_lagging += memory.waits.lagging();
        }
        gauges
    }
}
