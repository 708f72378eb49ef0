//! Every real server, killed and back.

use std::fs;
use std::process::Command;

use daybook_stack::{Layout, Plan, Server, Silent, Stack, Urls};

use crate::{ask, redis};

/// Runs SQL as the platform's role; the password is in the environment, as libpq's manual advises.
fn sql(urls: &Urls, statement: &str) -> String {
    let (role_and_password, rest) = urls.postgres["postgres://".len()..].split_once('@').unwrap();
    let (role, password) = role_and_password.split_once(':').unwrap();
    let output = Command::new("psql")
        .env("PGPASSWORD", password)
        .args(["--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
        .arg(format!("postgres://{role}@{rest}"))
        .args(["--command", statement])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn registry(urls: &Urls, method: &str, path: &str, body: &str) -> String {
    let (address, base) = urls.registry["http://".len()..].split_once('/').unwrap();
    let request = format!(
        "{method} /{base}{path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    ask(address, &request).unwrap()
}

#[test]
fn every_server_comes_back_on_its_port_with_its_data() {
    let layout = Layout::temporary().unwrap();
    // What a crash in the middle of the first start leaves.
    for half_made in ["kafka.new", "postgres.new"] {
        fs::create_dir_all(layout.root.join("data").join(half_made).join("rest")).unwrap();
    }
    let root = layout.root.clone();
    let mut stack = Stack::start(layout, &Plan::for_tests(&Server::INFRASTRUCTURE), &Silent).unwrap();
    let urls = stack.urls();

    sql(&urls, "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('ink')");
    registry(&urls, "POST", "/subjects/kept/versions", r#"{"schema":"{\"type\":\"string\"}"}"#);
    redis(&urls, "SET kept ink").unwrap();
    let letter = "HELO test\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: kept\r\n\r\nink\r\n.\r\nQUIT\r\n";
    ask(&urls.smtp, letter).unwrap();

    for server in Server::INFRASTRUCTURE {
        let before = stack.pid(server).unwrap();
        stack.kill(server).unwrap();
        assert_eq!(stack.pid(server), None);
        stack.restart(server, &Silent).unwrap();
        assert_ne!(stack.pid(server).unwrap(), before);
    }

    assert!(stack.urls() == urls, "addresses stay");
    assert_eq!(sql(&urls, "SELECT word FROM kept"), "ink");
    let subjects = registry(&urls, "GET", "/subjects", "");
    assert!(subjects.ends_with(r#"["kept"]"#), "{subjects}");
    assert!(redis(&urls, "PING").unwrap().contains("+PONG"));
    let letters: Vec<_> = fs::read_dir(urls.mail_dir.join("new")).unwrap().collect();
    assert_eq!(letters.len(), 1);

    // A running server restarts in good order, and one that is paused can still be stopped.
    stack.restart(Server::Postgres, &Silent).unwrap();
    assert_eq!(sql(&urls, "SELECT word FROM kept"), "ink");
    stack.pause(Server::Postgres).unwrap();
    stack.stop(&Silent).unwrap();
    assert!(!root.exists(), "a temporary stack leaves no files");
}
