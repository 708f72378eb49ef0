//! What goes wrong, and when: drawn from the seed alone, before anything starts.

use std::time::Duration;

use daybook_stack::Server;

use crate::chance::Chance;
use crate::proxy::Weather;

/// Pauses between two faults, in milliseconds.
const PAUSE_MS: (u64, u64) = (700, 3_500);
/// How long something that was killed stays away before it is started again.
const AWAY_MS: (u64, u64) = (0, 3_000);
/// How long a process stands still: always longer than the session of its group, which is 6 s.
const STANDSTILL_MS: (u64, u64) = (7_000, 12_000);
/// How long bad weather lasts on a link.
const WEATHER_MS: (u64, u64) = (2_000, 9_000);
/// How many answers are lost in a row, on whichever connections they come.
const ANSWERS: (u64, u64) = (1, 6);

/// The servers that are killed. Mail is not: nothing that is judged depends on it.
pub const SERVERS: [Server; 5] = [Server::Kafka, Server::Postgres, Server::Redis, Server::Registry, Server::Provider];

/// One thing that goes wrong. Processes and links are named by their places in the cluster's lists.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// SIGKILL to a process of the platform, which is started again.
    KillProcess { process: usize, away: Duration },
    /// SIGSTOP for longer than the session, then SIGCONT: it wakes as a zombie.
    StopProcess { process: usize, lasting: Duration },
    /// SIGKILL to a server, which is started again on its data.
    KillServer { server: Server, away: Duration },
    /// Bad weather on a link.
    Disturb { link: usize, weather: Weather, lasting: Duration },
    /// All connections of a link are reset.
    Reset { link: usize },
    /// The request goes through and is worked on; its answer does not come back, and the connection is reset.
    DropAnswers { link: usize, count: u32 },
}

impl Fault {
    /// The kind, for counting.
    pub fn name(&self) -> &'static str {
        match self {
            Self::KillProcess { .. } => "process killed",
            Self::StopProcess { .. } => "process stopped",
            Self::KillServer { server: Server::Kafka, .. } => "Kafka killed",
            Self::KillServer { server: Server::Postgres, .. } => "Postgres killed",
            Self::KillServer { server: Server::Redis, .. } => "Redis killed",
            Self::KillServer { server: Server::Registry, .. } => "registry killed",
            Self::KillServer { server: Server::Provider, .. } => "provider killed",
            Self::KillServer { .. } => "other server killed",
            Self::Disturb { weather, .. } if weather.is_cut => "link cut",
            Self::Disturb { weather, .. } if weather.bytes_per_second.is_some() => "link throttled",
            Self::Disturb { .. } => "link delayed",
            Self::Reset { .. } => "link reset",
            Self::DropAnswers { .. } => "answers dropped",
        }
    }
}

/// A fault at its time, from the beginning of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planned {
    pub at: Duration,
    pub fault: Fault,
}

/// Every fault of a run over a platform of so many processes, and of links that are grouped by the server they lead to: each
/// server is as likely to be cut off as another.
///
/// # Panics
/// When there is no process, or no link in a group.
pub fn plan(seed: u64, lasting: Duration, processes: usize, links: &[Vec<usize>]) -> Vec<Planned> {
    let mut chance = Chance::new(seed);
    let mut planned = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += millis(&mut chance, PAUSE_MS);
        if at >= lasting {
            return planned;
        }
        planned.push(Planned { at, fault: draw(&mut chance, processes, links) });
    }
}

fn draw(chance: &mut Chance, processes: usize, links: &[Vec<usize>]) -> Fault {
    let process = index(chance, processes);
    let group = chance.one_of(links);
    let link = *chance.one_of(group);
    match chance.between(0, 20) {
        0..4 => Fault::KillProcess { process, away: millis(chance, AWAY_MS) },
        4..6 => Fault::StopProcess { process, lasting: millis(chance, STANDSTILL_MS) },
        6..9 => Fault::KillServer { server: *chance.one_of(&SERVERS), away: millis(chance, AWAY_MS) },
        9..15 => {
            let weather = weather(chance);
            Fault::Disturb { link, weather, lasting: millis(chance, WEATHER_MS) }
        }
        15..17 => Fault::Reset { link },
        _ => {
            let count = chance.between(ANSWERS.0, ANSWERS.1);
            Fault::DropAnswers { link, count: u32::try_from(count).expect("a small count") }
        }
    }
}

fn weather(chance: &mut Chance) -> Weather {
    // Half of the time only every second connection is struck, so that the two sides see different worlds.
    let only_odd = chance.between(0, 2) == 0;
    let calm = Weather { only_odd, ..Weather::CALM };
    match chance.between(0, 3) {
        0 => Weather { is_cut: true, ..calm },
        1 => Weather { bytes_per_second: Some(chance.between(4_000, 40_000)), ..calm },
        _ => Weather { delay: Duration::from_millis(chance.between(20, 800)), ..calm },
    }
}

fn index(chance: &mut Chance, count: usize) -> usize {
    let high = u64::try_from(count).expect("a count fits");
    usize::try_from(chance.between(0, high)).expect("an index fits")
}

fn millis(chance: &mut Chance, (low, high): (u64, u64)) -> Duration {
    Duration::from_millis(chance.between(low, high))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MINUTES_10: Duration = Duration::from_secs(600);

    fn links() -> Vec<Vec<usize>> {
        vec![vec![0], vec![1, 2, 3], vec![4, 5]]
    }

    #[test]
    fn a_seed_gives_the_same_faults_again_and_another_seed_gives_others() {
        assert_eq!(plan(7, MINUTES_10, 6, &links()), plan(7, MINUTES_10, 6, &links()));
        assert_ne!(plan(7, MINUTES_10, 6, &links()), plan(8, MINUTES_10, 6, &links()));
    }

    #[test]
    fn ten_minutes_bring_every_kind_of_fault() {
        let kinds: BTreeSet<&str> =
            plan(1, MINUTES_10, 6, &links()).iter().map(|planned| planned.fault.name()).collect();
        assert_eq!(kinds.len(), 12, "{kinds:?}");
    }

    #[test]
    fn faults_come_in_order_and_within_the_run() {
        let planned = plan(3, MINUTES_10, 2, &links());
        assert!(planned.is_sorted_by_key(|planned| planned.at));
        assert!(planned.iter().all(|planned| planned.at < MINUTES_10));
    }
}
