//! What a part publishes.

use std::process::Command;

use daybook_engine::PARTITIONS;
use daybook_log::{Delivered, Log};
use daybook_stack::{Layout, Plan, Server, Silent, Stack};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::support::{CONTROL, DATA, NO_SUCH_ID, log, outgoing, publish, settings, topic, within};

#[tokio::test(flavor = "multi_thread")]
async fn every_message_of_a_shard_is_acknowledged_in_order() {
    let log = log().await;
    let messages = (1..=500).map(|seq| outgoing(DATA, seq, NO_SUCH_ID)).collect();
    let delivered = publish(&mut log.publisher("courses"), messages).await;
    let expected: Vec<_> = (1..=500).map(|seq| Delivered { partition: 3, attempt: 1, seq, ok: true }).collect();
    assert_eq!(delivered, expected);
    assert_eq!(log.admin().ends(DATA, 5).await.unwrap().end, 500);
    let ends = log.admin().all_ends(&[DATA, CONTROL]).await.unwrap();
    assert_eq!(ends, [[0, 0, 0, 0, 0, 500, 0, 0], [0; 8]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_client_reads_key_headers_and_value() {
    let log = log().await;
    publish(&mut log.publisher("courses"), vec![outgoing(DATA, 7, 258)]).await;
    let topic = format!("{}{DATA}", log.settings().topic_prefix);
    let output = Command::new("kcat")
        .args(["-b", &log.settings().brokers, "-C", "-e", "-q", "-t", &topic])
        .args(["-f", "%p|%k|%h|%s\\n"])
        .output()
        .expect("kcat is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "5|00000000-0000-0000-0000-000000000009|",
        "ce_specversion=1.0,ce_id=00000000-0000-0000-0000-000000000007,ce_source=/daybook/courses",
        "ce_type=daybook.learning.SeatReserved,ce_time=2023-11-14T22:13:20Z",
        "content-type=application/avro",
        "|\0\0\0\u{1}\u{2}body 7",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_fails_and_the_next_attempt_comes_through() {
    let log = log().await;
    let mut publisher = log.publisher("courses");
    publisher.publish(3, 1, vec![outgoing("no.such.topic", 1, NO_SUCH_ID)]);
    let failed = within(publisher.next()).await;
    assert_eq!((failed.attempt, failed.ok), (1, false));
    publisher.publish(3, 2, vec![outgoing(DATA, 1, NO_SUCH_ID)]);
    let delivered = within(publisher.next()).await;
    assert_eq!((delivered.attempt, delivered.ok), (2, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_loses_nothing() {
    let mut stack =
        Stack::start(Layout::temporary().unwrap(), &Plan::for_tests(&[Server::Kafka]), &Silent).expect("a broker");
    let log = Log::open(daybook_log::Settings { brokers: stack.urls().kafka.clone(), ..settings() }).unwrap();
    log.admin().apply(&[topic(DATA)]).await.unwrap();
    let mut publisher = log.publisher("courses");
    publish(&mut publisher, vec![outgoing(DATA, 1, NO_SUCH_ID)]).await;
    stack.kill(Server::Kafka).unwrap();
    publisher.publish(3, 1, (2..=50).map(|seq| outgoing(DATA, seq, NO_SUCH_ID)));
    stack.restart(Server::Kafka, &Silent).unwrap();
    for seq in 2..=50 {
        let delivered = within(publisher.next()).await;
        assert_eq!((delivered.seq, delivered.ok), (seq, true));
    }
    assert_eq!(log.admin().ends(DATA, 5).await.unwrap().end, 50);
}

const LIMITED: &str = "learning.limited.events.v1";

/// Kafka refuses the second message for good, and what follows in its partition must not overtake it.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_refused_for_good_takes_along_what_follows_and_the_next_attempt_comes_through() {
    let log = log().await;
    limited(20_000, LIMITED, &log).await;
    let mut publisher = log.publisher("courses");
    let mut messages: Vec<_> = (1..=20).map(|seq| outgoing(LIMITED, seq, NO_SUCH_ID)).collect();
    messages[1].value = vec![0; 50_000].into();
    publisher.publish(3, 1, messages);
    let mut failed = Vec::new();
    for _ in 1..=20 {
        let delivered = within(publisher.next()).await;
        assert_eq!(delivered.attempt, 1);
        if !delivered.ok {
            failed.push(delivered.seq);
        }
    }
    assert!(failed.contains(&2), "{failed:?}");
    publisher.publish(3, 2, (2..=20).map(|seq| outgoing(LIMITED, seq, NO_SUCH_ID)));
    for seq in 2..=20 {
        let delivered = within(publisher.next()).await;
        assert_eq!(delivered, Delivered { partition: 3, attempt: 2, seq, ok: true });
    }
}

/// A topic that takes no larger batch of records.
async fn limited(bytes: u32, name: &str, log: &Log) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &log.settings().brokers).create().unwrap();
    let topic = format!("{}{name}", log.settings().topic_prefix);
    let limit = bytes.to_string();
    let topic = NewTopic::new(&topic, i32::from(PARTITIONS), TopicReplication::Fixed(1));
    let created = admin.create_topics(&[topic.set("max.message.bytes", &limit)], &AdminOptions::new()).await.unwrap();
    assert!(created.iter().all(Result::is_ok), "{created:?}");
}
