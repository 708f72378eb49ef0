//! `overload`: twice as much as the platform can do, by callers who do not wait. What comes in, what is refused, whom it strikes,
//! and how long it takes until nothing of it is left.

use std::time::Duration;

use anyhow::{Result, ensure};
use daybook_bench::{Case, Figures, Report, Settings as Asked, percentile};
use tokio::time::Instant;

use super::enrolling::{Answers, Ended, Enrolling, Pace};
use super::platform::Platform;

/// How much is asked for, of the capacity: by a caller who wants nearly all of it, and by one who wants little.
const HEAVY: f64 = 1.9;
const LIGHT: f64 = 0.1;
const CALLERS: [&str; 2] = ["heavy caller", "light caller"];
const OVERLOADED: Duration = Duration::from_secs(60);
/// What an enrollment takes by itself while the machine is busy: so long after the last was accepted it cannot be done sooner.
const JOURNEY: Duration = Duration::from_secs(1);

pub(super) async fn measure(asked: &Asked) -> Result<Report> {
    let platform = Platform::whole(asked).await?;
    let mut enrolling = Enrolling::new(&platform, CALLERS.len()).await?;
    let capacity = enrolling.capacity().await?;
    let mut all = Case::new("both callers");
    let mut callers = CALLERS.map(Case::new);
    for _ in 0..asked.reps {
        let (of_all, of_each) = struck(asked, &mut enrolling, capacity).await?;
        all.runs.push(of_all);
        for (case, figures) in callers.iter_mut().zip(of_each) {
            case.runs.push(figures);
        }
    }
    let mut report = Report::new("overload");
    let [heavy, light] = callers;
    report.at_least("accepted of capacity", all.median("accepted_per_s") / capacity, 0.7, 0.9);
    report.at_most("p99 of what was accepted, s", all.median("p99_s"), 30.0, 15.0);
    report.at_least("light caller's requests accepted, %", light.median("accepted_percent"), 90.0, 99.0);
    report.at_most("until the backlog is gone, of backlog / capacity + 1 s", all.median("drain_ratio"), 1.5, 1.1);
    let mut before = Case::new("before");
    before.runs.push(Figures::from([("capacity_per_s", capacity)]));
    report.cases = vec![before, all, heavy, light];
    Ok(report)
}

/// Once. Figures of all together, and of each caller.
async fn struck(asked: &Asked, enrolling: &mut Enrolling, capacity: f64) -> Result<(Figures, [Figures; 2])> {
    let duration = asked.time(OVERLOADED);
    let seconds = duration.as_secs_f64();
    enrolling.provide((capacity * (HEAVY + LIGHT) * seconds * 1.1) as u64).await?;
    let rates = vec![capacity * HEAVY, capacity * LIGHT];
    enrolling.run(&Pace::Open(rates), duration).await?;
    let (backlog, over) = (enrolling.under_way() as f64, Instant::now());
    enrolling.finish().await?;
    let drain_s = over.elapsed().as_secs_f64();
    let ended = std::mem::take(&mut enrolling.ended);
    let answers = std::mem::replace(&mut enrolling.answers, vec![Answers::default(); CALLERS.len()]);
    let sum = |of: fn(&Answers) -> u64| answers.iter().map(of).sum::<u64>() as f64;
    let failed = sum(|answers| answers.failed);
    ensure!(failed == 0.0, "{failed} requests failed: overload is to be refused, not to break connections");
    let expected_s = backlog / capacity + JOURNEY.as_secs_f64();
    let mut all = Figures::from([
        ("accepted_per_s", sum(|answers| answers.accepted) / seconds),
        ("refused_per_s", sum(|answers| answers.refused) / seconds),
        ("backlog", backlog),
        ("drain_s", drain_s),
        ("drain_expected_s", expected_s),
        ("drain_ratio", drain_s / expected_s),
    ]);
    note_latency(&ended, &mut all);
    let of_caller = |caller: usize| {
        let Answers { accepted, refused, retry_after_max_s, .. } = answers[caller];
        let mut figures = Figures::from([
            ("wanted_per_s", (accepted + refused) as f64 / seconds),
            ("accepted_per_s", accepted as f64 / seconds),
            ("accepted_percent", accepted as f64 / (accepted + refused).max(1) as f64 * 100.0),
            ("retry_after_max_s", retry_after_max_s as f64),
        ]);
        let own: Vec<Ended> = ended.iter().copied().filter(|ended| ended.caller == caller).collect();
        note_latency(&own, &mut figures);
        figures
    };
    Ok((all, [of_caller(0), of_caller(1)]))
}

/// From request to outcome, in seconds.
fn note_latency(ended: &[Ended], figures: &mut Figures) {
    let mut took_s: Vec<f64> = ended.iter().map(|ended| ended.took_ms / 1_000.0).collect();
    took_s.sort_by(f64::total_cmp);
    figures.insert("p50_s", percentile(&took_s, 50.0));
    figures.insert("p99_s", percentile(&took_s, 99.0));
}
