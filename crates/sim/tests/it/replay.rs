//! A seed is the whole run: neither the process that it runs in nor what ran there before has a say.

use std::process::{Child, Command, Stdio};

use daybook_sim::{Settings, run};

/// Enough flows for caches to turn over and for keys to wait: only then it shows when something is left to chance.
const FLOWS: usize = 200;
const SEEDS: [u64; 2] = [3, 4215];
const PROCESSES: usize = 2;

/// Everything that happens, and what comes of it.
fn account(seed: u64) -> Vec<String> {
    let mut outcome = run(&Settings { trace: true, ..Settings::usual(seed, FLOWS) });
    let mut account = std::mem::take(&mut outcome.trace);
    account.push(format!("{outcome:?}"));
    account
}

fn accounts() -> String {
    SEEDS.into_iter().flat_map(account).map(|line| line + "\n").collect()
}

#[test]
fn a_seed_replays_exactly_also_in_another_process() {
    let others: Vec<Child> = (0..PROCESSES).map(|_| in_another_process()).collect();
    let here = accounts();
    for other in others {
        let output = other.wait_with_output().expect("its output is read");
        let there = String::from_utf8(output.stderr).expect("the account is a text");
        let differing = here.lines().zip(there.lines()).find(|(here, there)| here != there);
        assert!(output.status.success() && differing.is_none(), "{}: {differing:#?}", output.status);
        assert_eq!(here.len(), there.len(), "one goes on where the other ends");
    }
}

/// This program, with nothing to do but the test below. What the test harness itself tells goes to standard output.
fn in_another_process() -> Child {
    let this = std::env::current_exe().expect("this program has a path");
    Command::new(this)
        .args(["--exact", "replay::tells_the_accounts", "--ignored", "--nocapture"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program can be started")
}

#[test]
#[ignore = "it is what another process is asked for"]
fn tells_the_accounts() {
    eprint!("{}", accounts());
}
