//! Creating and describing topics.

use daybook_log::{Difference, Error, Log, Refusal};

use crate::support::{CONTROL, DATA, log, settings, topic};

#[tokio::test(flavor = "multi_thread")]
async fn missing_topics_are_created_once() {
    let log = Log::open(settings()).unwrap();
    let plan = [topic(DATA), topic(CONTROL)];
    let missing = Difference::Missing { topic: DATA.to_owned() };
    assert_eq!(log.admin().diff(&plan).await.unwrap()[0], missing);
    assert_eq!(log.admin().apply(&plan).await.unwrap(), [DATA, CONTROL]);
    assert_eq!(log.admin().apply(&plan).await.unwrap(), Vec::<String>::new());
    assert_eq!(log.admin().diff(&plan).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_has_an_id_and_a_cluster_too() {
    let log = log().await;
    let names = [DATA.to_owned(), "no.such.topic".to_owned(), CONTROL.to_owned()];
    let seen = log.admin().describe(&names).await.unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].name.as_str(), seen[0].partitions), (DATA, 8));
    assert_ne!(seen[0].id, seen[1].id);
    assert!(!seen[0].id.is_nil());
    assert!(!log.admin().cluster_id().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_and_a_wrong_partition_count_are_refused_with_the_cure() {
    let log = log().await;
    let missing = log.admin().check(&["no.such.topic".to_owned()], 8).await.unwrap_err();
    assert!(missing.to_string().contains("daybook topics apply"), "{missing}");
    let wrong = log.admin().check(&[DATA.to_owned()], 9).await.unwrap_err();
    assert!(matches!(wrong, Error::Refused(Refusal::PartitionCount { expected: 9, found: 8, .. })), "{wrong}");
}
