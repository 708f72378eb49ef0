//! Waiting for something to become true.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long something may take on a busy machine that normally takes a moment.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Looks again and again until `look` finds something. An error counts as "not yet": servers may be restarting.
///
/// # Errors
/// When the time is up; with what was waited for and the last error.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        let last = match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if began.elapsed() >= limit {
            match last {
                Some(error) => return Err(error.context(format!("waited {} s: {what}", limit.as_secs()))),
                None => bail!("waited {} s in vain: {what}", limit.as_secs()),
            }
        }
        thread::sleep(POLL);
    }
}
