//! Several stacks, several handles, and what a crash leaves. With Redis only: it starts fastest.

use std::fs;
use std::process::Command;

use daybook_stack::{Error, Launch, Layout, Lifetime, Plan, Ports, Server, Silent, Stack};

use crate::{ask, redis};

fn detached() -> Plan {
    Plan { lifetime: Lifetime::Detached, ..Plan::for_tests(&[Server::Redis]) }
}

#[test]
fn starting_twice_starts_once() {
    let layout = Layout::temporary().unwrap();
    let first = Stack::start(layout.clone(), &detached(), &Silent).unwrap();
    let second = Stack::start(layout.clone(), &detached(), &Silent).unwrap();
    assert_eq!(first.pid(Server::Redis), second.pid(Server::Redis));
    assert!(first.urls() == second.urls());

    // A handle that found the server running does not stop it either.
    let owner = Plan::for_tests(&[Server::Redis]);
    drop(Stack::start(Layout::new(&layout.root).unwrap(), &owner, &Silent).unwrap());
    assert!(redis(&first.urls(), "PING").unwrap().contains("+PONG"));

    drop((first, second));
    Stack::attach(layout.clone()).unwrap().stop(&Silent).unwrap();
    fs::remove_dir_all(&layout.root).unwrap();
}

#[test]
fn stopping_one_stack_leaves_the_other() {
    let plan = Plan::for_tests(&[Server::Redis]);
    let one = Stack::start(Layout::temporary().unwrap(), &plan, &Silent).unwrap();
    let other = Stack::start(Layout::temporary().unwrap(), &plan, &Silent).unwrap();
    let one_urls = one.urls();
    one.stop(&Silent).unwrap();
    assert!(redis(&one_urls, "PING").is_err());
    assert!(redis(&other.urls(), "PING").unwrap().contains("+PONG"));
}

#[test]
fn a_stranger_with_a_recorded_number_is_not_touched() {
    let layout = Layout::temporary().unwrap();
    let stack = Stack::start(layout.clone(), &detached(), &Silent).unwrap();
    let pid = stack.pid(Server::Redis).unwrap();
    stack.stop(&Silent).unwrap();

    // As after a crash: the state names a number that has since been given to somebody else.
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let identity =
        format!(r#"{{"redis": {{"pid": {}, "start_ticks": 1, "boot_id": "{}"}}}}"#, stranger.id(), boot_id.trim());
    let state_file = layout.root.join("stack.json");
    let state = fs::read_to_string(&state_file).unwrap();
    assert!(state.contains(r#""servers": {}"#), "{state}");
    fs::write(&state_file, state.replace(r#""servers": {}"#, &format!(r#""servers": {identity}"#))).unwrap();

    assert!(matches!(Stack::attach(layout.clone()), Err(Error::NoStack { .. })));
    let again = Stack::start(layout.clone(), &Plan::for_tests(&[Server::Redis]), &Silent).unwrap();
    assert_ne!(again.pid(Server::Redis).unwrap(), pid);
    again.stop(&Silent).unwrap();
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger lives on");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(!layout.root.exists());
}

#[test]
fn a_paused_server_is_silent_until_it_is_resumed() {
    let plan = Plan::for_tests(&[Server::Redis]);
    let stack = Stack::start(Layout::temporary().unwrap(), &plan, &Silent).unwrap();
    stack.pause(Server::Redis).unwrap();
    assert!(redis(&stack.urls(), "PING").is_err());
    stack.resume(Server::Redis).unwrap();
    assert!(redis(&stack.urls(), "PING").unwrap().contains("+PONG"));
}

#[test]
fn a_program_of_the_caller_is_started_and_restarted_like_any_server() {
    let plan = Plan { ports: Ports::Free, ..Plan::for_tests(&[]) };
    let mut stack = Stack::start(Layout::temporary().unwrap(), &plan, &Silent).unwrap();
    assert!(matches!(stack.restart(Server::Provider, &Silent), Err(Error::NoLaunch { server: Server::Provider })));
    let address = stack.urls().provider["http://".len()..].to_owned();
    let port = address.rsplit_once(':').unwrap().1.to_owned();
    let folder = stack.layout().root.display().to_string();
    let launch = Launch::new("/usr/bin/python3", &format!("{}/stack.json", stack.urls().provider)).arguments([
        "-m",
        "http.server",
        "--bind",
        "127.0.0.1",
        "--directory",
        &folder,
        &port,
    ]);
    stack.launch(Server::Provider, launch, &Silent).unwrap();
    stack.kill(Server::Provider).unwrap();
    assert!(ask(&address, "GET / HTTP/1.0\r\n\r\n").is_err());
    stack.restart(Server::Provider, &Silent).unwrap();
    assert!(ask(&address, "GET / HTTP/1.0\r\n\r\n").unwrap().contains("200 OK"));
}

#[test]
fn a_server_that_ends_while_starting_is_reported_with_its_log() {
    let mut stack = Stack::start(Layout::temporary().unwrap(), &Plan::for_tests(&[]), &Silent).unwrap();
    let launch = Launch::new("/bin/sh", "http://127.0.0.1:1/").arguments(["-c", "echo no ink left; exit 3"]);
    let error = stack.launch(Server::Platform, launch, &Silent).unwrap_err();
    assert!(error.to_string().contains("no ink left"), "{error}");
    let missing = Launch::new("no-such-program", "http://127.0.0.1:1/");
    let error = stack.launch(Server::Platform, missing, &Silent).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
}

#[test]
fn tests_share_one_stack_per_process() {
    let first = Stack::shared_for_tests(&[Server::Redis]).unwrap();
    let second = Stack::shared_for_tests(&[Server::Redis]).unwrap();
    assert!(first == second);
    assert!(redis(&second, "PING").unwrap().contains("+PONG"));
}
