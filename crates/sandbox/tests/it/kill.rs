//! A killed process, and a log with a torn end.

use crate::support::{Client, config, send, try_send};
use futures::future::join_all;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Tells the test below that it is the process to be killed, and where its data is.
const FOLDER_VARIABLE: &str = "DAYBOOK_SANDBOX_KILL_FOLDER";
const ANNOUNCEMENT: &str = "listening on ";
const PAYERS: usize = 16;
const ANSWERS_BEFORE_THE_KILL: usize = 20;

/// Does nothing, unless started by `start_child`: then it serves until it is killed.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER_VARIABLE) else { return };
    let running = daybook_sandbox::serve(config(Path::new(&folder))).await.unwrap();
    println!("\n{ANNOUNCEMENT}{}", running.addr);
    std::future::pending::<()>().await;
}

/// A process that doesn't outlive its test.
struct Killed(Child);

impl Killed {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.kill();
    }
}

fn start_child(folder: &Path) -> (Killed, SocketAddr) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::child", "--exact", "--nocapture"])
        .env(FOLDER_VARIABLE, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let address = lines.map(Result::unwrap).find_map(|line| line.strip_prefix(ANNOUNCEMENT)?.parse().ok());
    (child, address.expect("the child listens"))
}

/// Pays until the connection breaks, and returns what was answered by key. Tells of each answer.
async fn pay_on(client: Client, payer: usize, answered: tokio::sync::mpsc::Sender<()>) -> HashMap<String, String> {
    let mut ids = HashMap::new();
    for count in 0.. {
        let key = format!("{payer}-{count}");
        let request = client.pay_for("pm_card_visa", &key).header("idempotency-key", &key);
        let Ok(answer) = try_send(request).await else { break };
        ids.insert(key, answer.id().to_owned());
        if answered.send(()).await.is_err() {
            break;
        }
    }
    ids
}

#[tokio::test]
async fn a_killed_sandbox_has_lost_nothing_that_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, address) = start_child(folder.path());
    let client = Client::new(address);
    let (sender, mut answered) = tokio::sync::mpsc::channel(PAYERS);
    let payers: Vec<_> = (0..PAYERS).map(|payer| tokio::spawn(pay_on(client.clone(), payer, sender.clone()))).collect();
    for _ in 0..PAYERS * ANSWERS_BEFORE_THE_KILL {
        answered.recv().await.unwrap();
    }
    child.kill();
    drop(answered);
    let mut ids = HashMap::new();
    for payer in join_all(payers).await {
        ids.extend(payer.unwrap());
    }
    assert!(ids.len() >= PAYERS * ANSWERS_BEFORE_THE_KILL);

    let running = daybook_sandbox::serve(config(folder.path())).await.unwrap();
    let client = Client::new(running.addr);
    for (key, id) in &ids {
        let again = send(client.pay_for("pm_card_visa", key).header("idempotency-key", key)).await;
        assert_eq!((again.was_replayed(), again.id()), (true, id.as_str()));
    }
    let books = client.books().await;
    let paid = books["payments"].as_array().unwrap().len();
    // Each payer may have been waiting for one more, done but not answered.
    assert!((ids.len()..=ids.len() + PAYERS).contains(&paid), "{paid} for {}", ids.len());
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_torn_end_is_cut_off_and_the_sandbox_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let running = daybook_sandbox::serve(config(folder.path())).await.unwrap();
    let client = Client::new(running.addr);
    let id = send(client.pay("pm_card_visa").header("idempotency-key", "k")).await.id().to_owned();
    // The log as it is now, without the server's doing: what a power cut would leave, and half a line more.
    let copy = tempfile::tempdir().unwrap();
    let log = copy.path().join("sandbox.log");
    std::fs::copy(folder.path().join("sandbox.log"), &log).unwrap();
    running.stop().await.unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    file.write_all(br#"{"at_ms":1,"ids":99,"facts":[{"fact":"canc"#).unwrap();
    drop(file);

    let running = daybook_sandbox::serve(config(copy.path())).await.unwrap();
    let client = Client::new(running.addr);
    let again = send(client.pay("pm_card_visa").header("idempotency-key", "k")).await;
    assert_eq!((again.was_replayed(), again.id()), (true, id.as_str()));
    assert_eq!(send(client.capture(&id)).await.body["status"], "succeeded");
    running.stop().await.unwrap();

    let running = daybook_sandbox::serve(config(copy.path())).await.unwrap();
    let client = Client::new(running.addr);
    assert_eq!(client.books().await["totals"]["usd"]["captured"], 5_000);
    running.stop().await.unwrap();
}
