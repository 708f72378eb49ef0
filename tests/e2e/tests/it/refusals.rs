//! What cannot work does not start, and says what would help.

use anyhow::{Context, Result};
use e2e::until::PATIENCE;
use e2e::{Platform, kafka, until};

const COMMANDS: &str = "learning.course.commands.v1";

#[test]
fn wrong_settings_are_named() -> Result<()> {
    let platform = Platform::on_shared_servers("settings")?;
    for (variable, value, named, cure) in [
        ("DAYBOOK_STORE__URL", "mysql://127.0.0.1/daybook", "store.url", "postgres://"),
        ("DAYBOOK_LOG__BROKERS", "nowhere", "log.brokers", "host:port"),
        ("DAYBOOK_STORE__MAX_CONNECTIONS", "many", "DAYBOOK_STORE__MAX_CONNECTIONS", "number"),
        ("DAYBOOK_STORE__MAX_CONECTIONS", "20", "DAYBOOK_STORE__MAX_CONECTIONS", "DAYBOOK_STORE__MAX_CONNECTIONS"),
        ("DAYBOOK_STORE__MAX_CONNECTIONS", "3", "store.max_connections", "need"),
    ] {
        let output = platform.command_with(&["run", "courses"], &[(variable, value)])?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "it started with {variable}={value}");
        assert!(told.to_lowercase().contains(&named.to_lowercase()) && told.contains(cure), "{variable}: {told}");
    }
    let unknown = platform.command(&["run", "coarses"])?;
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("coarses"));
    Ok(())
}

#[test]
fn a_changed_number_of_partitions_is_refused() -> Result<()> {
    let platform = ran_once("partitions")?;
    let book = platform.book();
    kafka::add_partitions(&book.brokers, &book.wire(COMMANDS), 9)?;
    until("there are nine", PATIENCE, || Ok((book.partitions(COMMANDS)? == Some(9)).then_some(())))?;
    assert_refused(&platform, &[COMMANDS, "9 partitions", "copy it"])
}

#[test]
fn a_recreated_topic_is_refused() -> Result<()> {
    let platform = ran_once("recreated")?;
    let book = platform.book();
    kafka::delete_topic(&book.brokers, &book.wire(COMMANDS))?;
    until("the topic is gone", PATIENCE, || Ok(book.partitions(COMMANDS)?.is_none().then_some(())))?;
    platform.succeed(&["topics", "apply"])?;
    until("the topic is made anew", PATIENCE, || Ok(book.partitions(COMMANDS)?.map(drop)))?;
    assert_refused(&platform, &[COMMANDS, "deleted and made anew", "restore the topic"])
}

#[test]
fn a_missing_topic_is_refused() -> Result<()> {
    let platform = ran_once("missing")?;
    let book = platform.book();
    kafka::delete_topic(&book.brokers, &book.wire(COMMANDS))?;
    until("the topic is gone", PATIENCE, || Ok(book.partitions(COMMANDS)?.is_none().then_some(())))?;
    assert_refused(&platform, &[COMMANDS, "daybook topics apply"])
}

#[test]
fn a_database_of_a_newer_release_is_refused() -> Result<()> {
    let platform = ran_once("newer")?;
    let sql = platform.sql();
    sql.run(&format!("INSERT INTO {}.schema_version (version) VALUES (999)", sql.schema("courses")))?;
    assert_refused(&platform, &["courses", "999", "run a newer daybook"])
}

/// A platform whose courses have run, so that they have tables, and do no longer.
fn ran_once(name: &str) -> Result<Platform> {
    let mut platform = Platform::on_shared_servers(name)?;
    platform.run(&["courses"]).context("it starts at first")?;
    platform.kill(daybook_stack::Server::Platform)?;
    Ok(platform)
}

/// It does not start, and says each of these.
fn assert_refused(platform: &Platform, told: &[&str]) -> Result<()> {
    let output = platform.command(&["run", "courses"])?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "it started");
    for text in told {
        assert!(said.contains(text), "it does not say {text:?}: {said}");
    }
    Ok(())
}
