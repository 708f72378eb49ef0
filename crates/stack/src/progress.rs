//! Telling a person what goes on.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Hears of everything that takes long. `what` names a piece of work from its start to its end.
pub trait Progress: Sync {
    fn started(&self, what: &str);
    /// `total_bytes` is an estimate.
    fn advanced(&self, what: &str, done_bytes: u64, total_bytes: u64);
    fn finished(&self, what: &str, outcome: &str);
}

/// Bars where standard error is a terminal, else plain lines.
pub fn progress_for_terminal() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Bars::default()) } else { Box::new(Lines::default()) }
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _what: &str) {}
    fn advanced(&self, _what: &str, _done_bytes: u64, _total_bytes: u64) {}
    fn finished(&self, _what: &str, _outcome: &str) {}
}

/// One line on standard error for each piece of work that ends, and now and then one for a long download.
#[derive(Debug, Default)]
pub struct Lines {
    works: Mutex<BTreeMap<String, Work>>,
}

#[derive(Debug)]
struct Work {
    began: Instant,
    reported: Instant,
}

/// A download says how far it is this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl Progress for Lines {
    fn started(&self, what: &str) {
        let now = Instant::now();
        let work = Work { began: now, reported: now };
        held(&self.works).insert(what.to_owned(), work);
    }

    fn advanced(&self, what: &str, done_bytes: u64, total_bytes: u64) {
        if let Some(work) = held(&self.works).get_mut(what)
            && work.reported.elapsed() >= LINE_EVERY
        {
            work.reported = Instant::now();
            eprintln!("{what:<12} {} of about {} MB", done_bytes / 1_000_000, total_bytes / 1_000_000);
        }
    }

    fn finished(&self, what: &str, outcome: &str) {
        let took = held(&self.works).remove(what).map_or(Duration::ZERO, |work| work.began.elapsed());
        eprintln!("{what:<12} {outcome} ({:.1} s)", took.as_secs_f64());
    }
}

/// A spinner or a bar for each piece of work under way.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

const TICK: Duration = Duration::from_millis(120);

impl Progress for Bars {
    fn started(&self, what: &str) {
        let bar = self.all.add(ProgressBar::new_spinner());
        bar.set_style(style("{spinner} {prefix:<12} {wide_msg} {elapsed}"));
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(TICK);
        held(&self.bars).insert(what.to_owned(), bar);
    }

    fn advanced(&self, what: &str, done_bytes: u64, total_bytes: u64) {
        if let Some(bar) = held(&self.bars).get(what) {
            if bar.length() != Some(total_bytes) {
                bar.set_length(total_bytes);
                bar.set_style(style("{spinner} {prefix:<12} {wide_bar} {bytes}/{total_bytes} {elapsed}"));
            }
            bar.set_position(done_bytes.min(total_bytes));
        }
    }

    fn finished(&self, what: &str, outcome: &str) {
        if let Some(bar) = held(&self.bars).remove(what) {
            // Waits for the thread that ticks: it would otherwise take signals meant for the one that waits for them.
            bar.disable_steady_tick();
            bar.set_style(style("✓ {prefix:<12} {wide_msg} {elapsed}"));
            bar.finish_with_message(outcome.to_owned());
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A panic elsewhere does not spoil these maps: they only decorate.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
