//! The commands, run as a person runs them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use daybook_stack::{Layout, Server, Silent, Stack, Urls};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{eventually, redis};

fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daybook-stack"));
    command.arg("--root").arg(root).args(arguments);
    command
}

fn run(root: &Path, arguments: &[&str]) -> Output {
    let output = command(root, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Starts `up` in the foreground and waits until Redis answers.
fn up_in_the_foreground(layout: &Layout) -> (Child, Urls) {
    let child = command(&layout.root, &["up", "--free-ports", "--only", "redis"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stack_file = layout.root.join("stack.json");
    eventually("redis is recorded", || {
        fs::read_to_string(&stack_file).is_ok_and(|state| state.contains("start_ticks"))
    });
    let urls = Stack::attach(layout.clone()).unwrap().urls();
    eventually("redis answers", || answers(&urls));
    (child, urls)
}

fn answers(urls: &Urls) -> bool {
    redis(urls, "PING").is_ok_and(|answer| answer.contains("+PONG"))
}

#[test]
fn detached_servers_outlive_the_command_and_end_with_down() {
    let layout = Layout::temporary().unwrap();
    let up = ["up", "--detach", "--free-ports", "--only", "redis"];
    run(&layout.root, &up);
    let urls = Stack::attach(layout.clone()).unwrap().urls();
    assert!(answers(&urls));
    assert!(String::from_utf8(run(&layout.root, &up).stderr).unwrap().contains("was running"));

    let status = printed(&run(&layout.root, &["status", "--json"]));
    assert!(status.contains(r#""ready": true"#), "{status}");
    assert!(printed(&run(&layout.root, &["status"])).contains("ready"));

    run(&layout.root, &["down"]);
    assert!(!answers(&urls));
    assert!(layout.root.join("data/redis").exists(), "down keeps data");
    assert!(!command(&layout.root, &["status"]).output().unwrap().status.success());

    let unconfirmed = command(&layout.root, &["reset"]).stdin(Stdio::null()).output().unwrap();
    assert!(!unconfirmed.status.success());
    assert!(layout.root.join("data/redis").exists());
    run(&layout.root, &["reset", "--yes"]);
    assert!(!layout.root.join("data").exists());
    fs::remove_dir_all(&layout.root).unwrap();
}

#[test]
fn a_killed_foreground_command_leaves_no_server_behind() {
    let layout = Layout::temporary().unwrap();
    let (mut child, urls) = up_in_the_foreground(&layout);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("redis is gone", || !answers(&urls));
    // And the next command finds its way.
    run(&layout.root, &["up", "--detach", "--only", "redis"]);
    assert!(Stack::attach(layout.clone()).unwrap().urls() == urls, "ports are kept");
    Stack::attach(layout.clone()).unwrap().stop(&Silent).unwrap();
    fs::remove_dir_all(&layout.root).unwrap();
}

#[test]
fn ctrl_c_stops_the_foreground_command_in_good_order() {
    let layout = Layout::temporary().unwrap();
    let (mut child, urls) = up_in_the_foreground(&layout);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!answers(&urls));
    let log = fs::read_to_string(layout.log(Server::Redis)).unwrap();
    assert!(log.contains("Redis is now ready to exit"), "{log}");
    fs::remove_dir_all(&layout.root).unwrap();
}

#[test]
fn down_elsewhere_ends_the_foreground_command() {
    let layout = Layout::temporary().unwrap();
    let (mut child, _) = up_in_the_foreground(&layout);
    run(&layout.root, &["down"]);
    assert!(child.wait().unwrap().success());
    fs::remove_dir_all(&layout.root).unwrap();
}
