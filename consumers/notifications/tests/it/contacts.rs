//! The projection of contacts.

use daybook_consumer::testing::shuffle_proof;
use daybook_events::{ContactChanged, PersonErased, PersonEvent, PersonId, PersonRegistered, Sealed};
use notifications::NotificationContacts;

fn registered(person: u128) -> PersonEvent {
    PersonRegistered {
        person_id: PersonId::from_u128(person),
        name: Sealed::new(vec![1, 2]),
        email: Sealed::new(vec![3]),
        phone: None,
        language: "en-US".to_owned(),
        time_zone: "UTC".to_owned(),
        roles: vec![],
    }
    .into()
}

fn changed(person: u128) -> PersonEvent {
    ContactChanged {
        person_id: PersonId::from_u128(person),
        name: Sealed::new(vec![1, 2]),
        email: Sealed::new(vec![0xfe]),
        phone: None,
        language: "es".to_owned(),
        time_zone: "UTC".to_owned(),
    }
    .into()
}

fn erased(person: u128) -> PersonEvent {
    PersonErased { person_id: PersonId::from_u128(person), reason: "person-request".to_owned() }.into()
}

#[test]
fn the_latest_contact_counts_and_an_erased_person_has_none() {
    let events = vec![registered(1), registered(2), changed(1), erased(2), erased(3)];
    let tables = shuffle_proof::<NotificationContacts>(events);
    let rows = tables.rows("notification_contact");
    let texts = |column: &str| rows.iter().map(|row| row[column].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(texts("email"), ["fe", "", ""]);
    assert_eq!(texts("name"), ["0102", "", ""]);
    assert_eq!(rows.iter().map(|row| row["erased"].as_bool().unwrap()).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(rows[0]["language"], "es");
}
