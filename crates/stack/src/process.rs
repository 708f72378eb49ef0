//! Processes: how one is started, and how it is told apart from a stranger with the same number.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Distinguishes this run of the machine from earlier ones, in which process numbers meant others.
static BOOT_ID: LazyLock<String> =
    LazyLock::new(|| fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned());

/// How a server is started. Kept in the state file and visible in the list of processes: no secrets in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Added to the environment that is inherited.
    pub environment: Vec<(String, String)>,
    /// For servers that the caller brings: what answers an HTTP GET with 200 when the server is ready, such as
    /// `http://127.0.0.1:9464/readyz`.
    pub ready_url: String,
    /// The account to run under, if not the caller's.
    #[serde(default)]
    pub(crate) account: Option<Account>,
}

impl Launch {
    /// A launch of `program`, ready when `GET ready_url` answers 200.
    pub fn new(program: impl Into<PathBuf>, ready_url: &str) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            ready_url: ready_url.to_owned(),
            account: None,
        }
    }

    #[must_use]
    pub fn arguments<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub(crate) fn account(mut self, account: Option<Account>) -> Self {
        self.account = account;
        self
    }
}

/// An account of the machine, by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub user: u32,
    pub group: u32,
}

impl Account {
    pub fn named(name: &'static str) -> Result<Self> {
        match User::from_name(name) {
            Ok(Some(user)) => Ok(Self { user: user.uid.as_raw(), group: user.gid.as_raw() }),
            _ => Err(Error::NoAccount { account: name }),
        }
    }
}

pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

pub(crate) fn account_id() -> u32 {
    geteuid().as_raw()
}

/// A child that waits to become the program it was started for.
///
/// Between starting a process and writing down that it was started, the starter may be killed. So the child first reads a
/// line: only when its number is safely recorded does [`Gated::open`] let it go on. If the starter ends before, the
/// child reads the end of its input and ends too.
pub(crate) struct Gated {
    child: Child,
    program: String,
}

impl Gated {
    /// Starts `launch` behind its gate, with both outputs going to `log`.
    ///
    /// It leads a process group of its own, so that Ctrl-C in a terminal reaches only the command that was typed there.
    pub fn spawn(launch: &Launch, log: fs::File) -> Result<Self> {
        let program = launch.program.display().to_string();
        let failed = |source| Error::Spawn { program: program.clone(), source };
        let errors = log.try_clone().map_err(failed)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "read -r go && exec \"$@\" </dev/null", "gate"])
            .arg(&launch.program)
            .args(&launch.arguments)
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .process_group(0);
        run_as(&mut command, launch.account);
        let child = command.spawn().map_err(failed)?;
        Ok(Self { child, program })
    }

    /// The identity, which stays the same when the gate opens.
    pub fn identity(&self) -> Result<Identity> {
        let pid = self.child.id().cast_signed();
        Identity::of(pid).ok_or_else(|| Error::Failed {
            program: self.program.clone(),
            status: "gone".to_owned(),
            output: String::new(),
        })
    }

    pub fn open(mut self) -> Result<Child> {
        let gate = self.child.stdin.take();
        let opened = gate.map_or(Ok(()), |mut gate| gate.write_all(b"go\n"));
        match opened {
            Ok(()) => Ok(self.child),
            Err(source) => Err(Error::Spawn { program: self.program, source }),
        }
    }
}

pub(crate) fn run_as(command: &mut Command, account: Option<Account>) {
    if let Some(account) = account {
        command.uid(account.user).gid(account.group);
    }
}

/// A process, told apart from any later one with the same number by the time at which it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub pid: i32,
    /// Clock ticks from the start of the machine to the start of the process (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
    pub boot_id: String,
}

impl Identity {
    pub fn of(pid: i32) -> Option<Self> {
        Stat::read(pid).map(|stat| stat.identity())
    }

    /// Whether this very process still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        self.boot_id == *BOOT_ID
            && Stat::read(self.pid).is_some_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_dead())
    }

    /// Signals this process only.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // The process may end between the look and the signal; the signal then reaches nobody, which is as good.
            let _ended_meanwhile = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Stops this process and everything below it in their tracks.
    pub fn pause_tree(&self) {
        self.frozen_tree();
    }

    /// Lets this process and everything below it go on.
    pub fn resume_tree(&self) {
        let mut tree = self.tree();
        tree.reverse();
        for process in tree {
            process.signal(Signal::SIGCONT);
        }
    }

    /// Kills this process and everything below it at once, as a power cut would.
    ///
    /// Returns what was killed. The leader alone would not do: Postgres's backends outlive their postmaster for a moment,
    /// and it does not start again while they do.
    pub fn kill_tree(&self) -> Vec<Self> {
        let tree = self.frozen_tree();
        for process in &tree {
            process.signal(Signal::SIGKILL);
        }
        tree
    }

    /// The tree, with its members stopped from the top down so that none can make another while it is listed.
    fn frozen_tree(&self) -> Vec<Self> {
        self.signal(Signal::SIGSTOP);
        let tree = self.tree();
        for process in &tree {
            process.signal(Signal::SIGSTOP);
        }
        tree
    }

    /// This process, if alive, and its descendants, parents before children.
    fn tree(&self) -> Vec<Self> {
        let everything = all_processes();
        let mut tree = Vec::new();
        if self.is_alive() {
            tree.push(self.clone());
        }
        let mut next = 0;
        while next < tree.len() {
            let parent = tree[next].pid;
            let children = everything.iter().filter(|stat| stat.parent == parent);
            tree.extend(children.map(Stat::identity));
            next += 1;
        }
        tree
    }
}

/// The part of `/proc/PID/stat` that is needed here.
struct Stat {
    pid: i32,
    state: char,
    parent: i32,
    start_ticks: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(pid, &text)
    }

    fn parse(pid: i32, text: &str) -> Option<Self> {
        // The name of the program, in parentheses, may itself hold spaces and parentheses: the last one ends it.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        Some(Self {
            pid,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    }

    fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    fn identity(&self) -> Identity {
        Identity { pid: self.pid, start_ticks: self.start_ticks, boot_id: BOOT_ID.clone() }
    }
}

fn all_processes() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter_map(Stat::read).collect()
}

/// The folder a process works in, if it can be seen.
pub(crate) fn working_folder(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// Runs a short command to its end; what it prints becomes part of the error if it fails.
pub(crate) fn run_to_end(command: &mut Command, install: &'static str) -> Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.output().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { program: program.clone(), install },
        _ => Error::Spawn { program: program.clone(), source },
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        program,
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text = "42 (a) b (c)) S 7 42 42 0 -1 4194304 1 0 0 0 1 2 0 0 20 0 1 0 98765 1 1";
        let stat = Stat::parse(42, text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.start_ticks), ('S', 7, 98_765));
    }

    #[test]
    fn a_process_with_the_same_number_but_another_start_is_a_stranger() {
        let myself = Identity::of(std::process::id().cast_signed()).unwrap();
        assert!(myself.is_alive());
        let recycled = Identity { start_ticks: myself.start_ticks + 1, ..myself.clone() };
        assert!(!recycled.is_alive());
        let before_the_reboot = Identity { boot_id: "another".to_owned(), ..myself };
        assert!(!before_the_reboot.is_alive());
        // Would end this test if it took the stranger for its own.
        recycled.kill_tree();
        before_the_reboot.kill_tree();
    }

    #[test]
    fn a_child_whose_starter_ends_before_the_gate_opens_never_becomes_the_program() {
        let launch = Launch::new("/bin/sleep", "").arguments(["60"]);
        let log = fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        let mut gated = Gated::spawn(&launch, log).unwrap();
        drop(gated.child.stdin.take());
        assert!(!gated.child.wait().unwrap().success());
    }
}
