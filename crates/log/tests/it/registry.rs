//! Registering and looking up schemas.

use daybook_events::Schemas;
use daybook_log::{Error, Log, Refusal, Settings, Subject, plan, subjects};
use futures::future::join_all;

use crate::support::{NO_SUCH_ID, TYPE, own_schema, settings, within};

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_contract_is_registered_once_and_found_again() {
    let log = Log::open(settings()).unwrap();
    let subjects = subjects(&plan([]));
    let first = log.registry().register(&subjects).await.unwrap();
    assert_eq!((first.added, first.known), (subjects.len(), 0));

    let again = Log::open(log.settings().clone()).unwrap();
    let second = again.registry().register(&subjects).await.unwrap();
    assert_eq!((second.added, second.known), (0, subjects.len()));

    let id = again.registry().id_of(TYPE).unwrap();
    assert_eq!(again.registry().writer(id).unwrap().full_name(), TYPE);
    let stranger = Log::open(log.settings().clone()).unwrap();
    assert!(stranger.registry().writer(id).is_none());
    assert_eq!(stranger.registry().fetch(id).await.unwrap().unwrap().full_name(), TYPE);
}

/// As when a deployment starts for the first time: whoever comes second finds what the first has made, and nobody is refused.
#[tokio::test(flavor = "multi_thread")]
async fn many_that_register_the_contract_at_once_all_learn_the_same_ids() {
    let (settings, subjects) = (settings(), subjects(&plan([])));
    let registering = (0..4).map(async |_| {
        let log = Log::open(settings.clone()).unwrap();
        // A registry that is at its bound is asked again, as at every start.
        while let Err(failed) = log.registry().register(&subjects).await {
            assert!(failed.is_passing(), "{failed}");
        }
        log.registry().id_of(TYPE)
    });
    let ids = within(join_all(registering)).await;
    assert!(ids[0].is_some());
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incompatible_schema_is_refused_with_the_cure() {
    let log = Log::open(settings()).unwrap();
    let subject = |schema: &'static str| Subject {
        name: "t-daybook.test.Thing".to_owned(),
        full_name: "daybook.test.Thing",
        schema,
        compatibility: "FULL_TRANSITIVE",
    };
    let first =
        subject(r#"{"type":"record","name":"Thing","namespace":"daybook.test","fields":[{"name":"a","type":"long"}]}"#);
    log.registry().register(&[first]).await.unwrap();
    let grown = subject(
        r#"{"type":"record","name":"Thing","namespace":"daybook.test","fields":[{"name":"a","type":"long"},{"name":"b","type":"long"}]}"#,
    );
    let refused = log.registry().register(&[grown]).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::SchemaIncompatible { .. })), "{refused}");
    assert!(refused.to_string().contains("with a default"), "{refused}");
    assert!(!refused.is_passing());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_such_id_is_told_apart_from_an_unreachable_registry() {
    let settings = settings();
    let log = Log::open(settings.clone()).unwrap();
    assert!(log.registry().fetch(NO_SUCH_ID).await.unwrap().is_none());
    log.registry().ping().await.unwrap();

    let nowhere = Settings { registry: "http://127.0.0.1:1".to_owned(), ..settings };
    let log = Log::open(nowhere).unwrap();
    let failed = log.registry().fetch(NO_SUCH_ID).await.unwrap_err();
    assert!(failed.is_passing(), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_schemas_have_one_id_in_all_subjects() {
    let log = Log::open(settings()).unwrap();
    let schema: &'static str = own_schema(TYPE).leak();
    let subjects = ["a", "b"].map(|topic| Subject {
        name: format!("{topic}-{TYPE}"),
        full_name: TYPE,
        schema,
        compatibility: "FULL_TRANSITIVE",
    });
    assert_eq!(log.registry().register(&subjects).await.unwrap().added, 2);
}
