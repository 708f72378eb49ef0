/// What one engine has done since it was made. Counts of a batch become visible with its commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub applied: u64,
    pub rejected: u64,
    pub parked: u64,
    pub held: u64,
    pub duplicates: u64,
    pub gaps: u64,
    pub timers: u64,
    pub timers_failed: u64,
    /// Times that a deadline was put off because a participant lags.
    pub timers_put_off: u64,
    pub concluded: u64,
    pub batches: u64,
    pub republished: u64,
    pub deliveries_failed: u64,
    pub effects_retried: u64,
    /// Answers to effects that had been concluded otherwise.
    pub effects_late: u64,
    pub fenced: u64,
    pub store_retries: u64,
}

impl Counters {
    /// Adds what a batch has counted, once it is committed.
    pub(crate) fn add(&mut self, batch: &Self) {
        self.batches += 1;
        self.applied += batch.applied;
        self.rejected += batch.rejected;
        self.parked += batch.parked;
        self.held += batch.held;
        self.duplicates += batch.duplicates;
        self.gaps += batch.gaps;
        self.timers += batch.timers;
        self.timers_failed += batch.timers_failed;
        self.timers_put_off += batch.timers_put_off;
        self.concluded += batch.concluded;
    }
}
