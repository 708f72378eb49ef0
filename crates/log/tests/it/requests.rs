//! What a façade publishes.

use std::time::Duration;

use daybook_events::{Header, Timestamp};
use daybook_log::{Log, PublishError, Request, Requests, Settings};
use daybook_stack::{Layout, Plan, Server, Silent, Stack};
use futures::future::join_all;
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{DATA, TYPE, log, settings, topic};

const LONGEST: Duration = Duration::from_secs(5);

fn header() -> Vec<u8> {
    let mut header = Vec::new();
    Header::first(Uuid::nil(), Timestamp(0)).encode(&mut header).unwrap();
    header
}

fn request<'a>(topic: &'a str, value: &'a [u8], header: &'a [u8]) -> Request<'a> {
    Request {
        topic,
        key: b"00000000-0000-0000-0000-000000000009",
        type_name: TYPE,
        message_id: Uuid::nil(),
        time: Timestamp(1_700_000_000_000_000),
        header,
        value,
    }
}

async fn publish(
    requests: &Requests,
    topic: &str,
    value: &[u8],
    within: Duration,
) -> Result<daybook_log::Position, PublishError> {
    requests.publish(request(topic, value, &header()), Instant::now() + within).await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_are_acknowledged_each_with_its_position() {
    let log = log().await;
    let requests = log.requests("api", LONGEST).unwrap();
    let callers = (0..200).map(|_| publish(&requests, DATA, b"value", LONGEST));
    let mut offsets: Vec<_> = join_all(callers).await.into_iter().map(|position| position.unwrap().offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (0..200).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_over_stands_before_what_is_published_later() {
    let log = log().await;
    let requests = log.requests("api", LONGEST).unwrap();
    let header = header();
    requests.hand_over(request(DATA, b"value", &header)).unwrap();
    assert_eq!(publish(&requests, DATA, b"value", LONGEST).await.unwrap().offset, 1);
    let large = requests.hand_over(request(DATA, &vec![0; 2 << 20], &header));
    assert!(matches!(large, Err(PublishError::TooLarge { .. })), "{large:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_has_no_topic_is_surely_not_published() {
    let log = log().await;
    let requests = log.requests("api", LONGEST).unwrap();
    let large = publish(&requests, DATA, &vec![0; 2 << 20], LONGEST).await;
    assert!(matches!(large, Err(PublishError::TooLarge { .. })), "{large:?}");
    let lost = publish(&requests, "no.such.topic", b"value", LONGEST).await;
    assert!(matches!(lost, Err(PublishError::Refused(_) | PublishError::NotKnown)), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_stopped_broker_a_message_is_not_known_at_its_deadline() {
    let stack =
        Stack::start(Layout::temporary().unwrap(), &Plan::for_tests(&[Server::Kafka]), &Silent).expect("a broker");
    let settings = Settings { brokers: stack.urls().kafka.clone(), ..settings() };
    let log = Log::open(settings).unwrap();
    log.admin().apply(&[topic(DATA)]).await.unwrap();
    let requests = log.requests("api", LONGEST).unwrap();
    publish(&requests, DATA, b"value", LONGEST).await.unwrap();
    stack.pause(Server::Kafka).unwrap();
    let begun = Instant::now();
    let late = publish(&requests, DATA, b"value", Duration::from_millis(500)).await;
    assert_eq!(late, Err(PublishError::NotKnown));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    stack.resume(Server::Kafka).unwrap();
    publish(&requests, DATA, b"value", LONGEST).await.unwrap();
}
