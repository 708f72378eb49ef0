//! What processes have cost so far, as the kernel counts it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// The kernel's unit of CPU time in `/proc`: `USER_HZ`, which is 100 on every Linux that has users.
const TICKS_PER_SECOND: f64 = 100.0;
/// Fields of `/proc/PID/stat` after the name: user and system time of the process itself.
const OWN: std::ops::Range<usize> = 11..13;
/// The same, and those of children that have ended.
const WITH_ENDED: std::ops::Range<usize> = 11..15;

/// CPU seconds of a process, of its living children, and of those that have ended.
///
/// # Errors
/// When there is no such process.
pub fn cpu_seconds(pid: i32) -> Result<f64> {
    let mut seconds = seconds_of(pid, WITH_ENDED)?;
    for child in children(pid)? {
        // A child that ends meanwhile is counted by its parent from then on.
        seconds += seconds_of(child, WITH_ENDED).unwrap_or_default();
    }
    Ok(seconds)
}

/// CPU seconds of this process alone: the servers that it started are its children, too.
///
/// # Errors
/// When the kernel does not tell.
pub fn own_cpu_seconds() -> Result<f64> {
    seconds_of(i32::try_from(std::process::id())?, OWN)
}

/// Resident memory in MB (10^6 bytes).
///
/// # Errors
/// When there is no such process.
pub fn resident_mb(pid: i32) -> Result<f64> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process without memory")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1_024.0 / 1_000_000.0)
}

/// CPU seconds of the whole machine since it started.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Waiting not counted.
    pub busy: f64,
    /// Wanted, but given to others by the host: how far a figure may be trusted.
    pub stolen: f64,
}

/// # Errors
/// When the kernel does not tell.
pub fn spent() -> Result<Spent> {
    let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let times = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = times.map(str::parse).collect::<Result<_, _>>()?;
    ensure!(ticks.len() >= 8, "/proc/stat is too short");
    let (waiting, stolen) = (ticks[3] + ticks[4], ticks[7]);
    let busy = ticks[..7].iter().sum::<f64>() - waiting;
    Ok(Spent { busy: busy / TICKS_PER_SECOND, stolen: stolen / TICKS_PER_SECOND })
}

fn seconds_of(pid: i32, times: std::ops::Range<usize>) -> Result<f64> {
    let stat = read(pid, "stat")?;
    // The name may hold anything, so fields are counted from its end.
    let (_, after_name) = stat.rsplit_once(") ").context("a process without a name")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let times = fields.get(times).context("a short stat file")?;
    let ticks: f64 = times.iter().map(|field| field.parse::<f64>().unwrap_or_default()).sum();
    Ok(ticks / TICKS_PER_SECOND)
}

fn children(pid: i32) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(PathBuf::from(format!("/proc/{pid}/task")))? {
        // A thread that has just ended has no children any more.
        let listed = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        found.extend(listed.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
    }
    Ok(found)
}

fn read(pid: i32, file: &str) -> Result<String> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_cost_something() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(own_cpu_seconds().unwrap() <= cpu_seconds(pid).unwrap());
        assert!(spent().unwrap().busy > 0.0);
        assert!(cpu_seconds(i32::MAX).is_err());
    }
}
