//! What goes wrong, how often, and how often it did.

use std::collections::BTreeMap;
use std::fmt;

/// Declares each fault once: its rate's field, with what it means, and how often it is usual.
macro_rules! faults {
    ($($(#[$meaning:meta])* $name:ident: $usual:literal,)+) => {
        /// Rates, in occurrences per million opportunities. An opportunity is one step of the kind that can fail.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Faults {
            $($(#[$meaning])* pub $name: u32,)+
        }

        impl Faults {
            pub fn none() -> Self {
                Self { $($name: 0,)+ }
            }

            /// What every run of the suite has.
            pub fn usual() -> Self {
                Self { $($name: $usual,)+ }
            }

            /// Every kind by its name, with its rate.
            pub fn kinds(&mut self) -> Vec<(&'static str, &mut u32)> {
                vec![$((stringify!($name), &mut self.$name),)+]
            }
        }
    };
}

faults! {
    /// A worker loses all memory; per step of the world.
    worker_crash: 1_500,
    /// A worker freezes for shorter or longer than its session; per step of the world.
    worker_stop: 1_200,
    /// A partition moves; per step of the world.
    rebalance: 3_000,
    /// Nobody reads a partition, or a whole part, for minutes to more than a day; per step of the world.
    consumer_gone: 40,
    /// The same, just when a call to the outside world was made; per call.
    gone_in_call: 4_000,
    /// The database's clock jumps; per step of the world.
    clock_jump: 100,
    /// A commit is rolled back.
    commit_refused: 10_000,
    /// A commit has no answer: it was done, it was not, or it is done later.
    commit_unknown: 15_000,
    load_failed: 10_000,
    claim_failed: 30_000,
    /// The delivery of one message fails, while those after it succeed; half of these are in the log all the same.
    delivery_failed: 5_000,
    /// A message is in the log twice, the second time at once or seconds later.
    delivery_duplicated: 20_000,
    /// A caller repeats a command under the same id.
    command_repeated: 100_000,
    /// A fetch brings a few records a second time.
    fetch_repeated: 20_000,
    /// A fetch begins at the stale offset of the group, far behind.
    offset_stale: 2_000,
    /// The registry cannot be asked, so that the partition waits.
    registry_away: 2_000,
    /// The provider serves nobody for seconds to minutes: it refuses at once, or does not answer; per call.
    provider_down: 3_000,
    provider_slow: 50_000,
    provider_refused: 30_000,
    /// The provider acts, and says that it failed.
    provider_failed: 30_000,
    provider_answer_lost: 50_000,
    /// The provider acts after the caller has given up waiting.
    provider_late: 20_000,
    /// The provider's notice comes before its answer.
    notice_early: 50_000,
    notice_twice: 50_000,
    /// The provider's notice never comes.
    notice_lost: 50_000,
    /// What nobody should have sent; per flow.
    nonsense: 15_000,
    /// An operator retries or compensates a saga; per part and round of looking.
    saga_ordered: 500_000,
}

/// A name that no kind of fault has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFault(pub String);

impl fmt::Display for UnknownFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = Faults::usual().kinds().into_iter().map(|(name, _)| name).collect();
        write!(formatter, "no fault is called {}; there are {}", self.0, kinds.join(", "))
    }
}

impl std::error::Error for UnknownFault {}

impl Faults {
    /// The usual rates of these kinds alone.
    ///
    /// # Errors
    /// When a name is no kind's.
    pub fn only(names: &[String]) -> Result<Self, UnknownFault> {
        let mut faults = Self::usual();
        for name in names {
            if faults.kinds().iter().all(|(kind, _)| kind != name) {
                return Err(UnknownFault(name.clone()));
            }
        }
        for (kind, rate) in faults.kinds() {
            if !names.iter().any(|name| name == kind) {
                *rate = 0;
            }
        }
        Ok(faults)
    }
}

/// How often each fault happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub fn count(&mut self, fault: &'static str) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (fault, times) in &other.0 {
            *self.0.entry(fault).or_default() += times;
        }
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub fn of(&self, fault: &str) -> u64 {
        self.0.get(fault).copied().unwrap_or(0)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(fault, times)| (*fault, *times))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (fault, times) in self.iter() {
            let comma = if std::mem::take(&mut first) { "" } else { ", " };
            write!(formatter, "{comma}{fault} {times}")?;
        }
        Ok(())
    }
}
