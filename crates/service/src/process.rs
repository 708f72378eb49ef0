//! What Linux tells of this process under `/proc/self` (proc(5)).

use std::io;

/// Clock ticks in `/proc` are a hundredth of a second on every Linux, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

const BYTES_PER_KIB: u64 = 1024;

pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) open_files: usize,
}

pub(crate) fn usage() -> io::Result<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let unexpected = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    Ok(Usage {
        cpu_seconds: cpu_seconds(&stat).ok_or(unexpected("/proc/self/stat"))?,
        resident_bytes: resident_bytes(&status).ok_or(unexpected("/proc/self/status"))?,
        open_files: std::fs::read_dir("/proc/self/fd")?.count(),
    })
}

/// `utime` and `stime` are the 14th and 15th field. The 2nd, the program's name, may hold spaces and parentheses: what
/// follows the last parenthesis starts with the 3rd.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * BYTES_PER_KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_does_not_confuse() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(cpu_seconds(stat), Some(2.0));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    12 kB\n"), Some(12_288));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }
}
