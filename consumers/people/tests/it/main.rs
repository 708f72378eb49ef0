//! Given what happened, when asked, then what happens.

use std::sync::Arc;

use daybook_consumer::testing::{Bench, given};
use daybook_consumer::{Attempt, Conclusion, Perform};
use daybook_events::{
    ChangeContact, ContactChanged, Currency, ErasePerson, GrantRole, OrganizationId, OrganizationRegistered,
    PersonErased, PersonId, PersonRegistered, RegisterOrganization, RegisterPerson, RevokeRole, RoleGranted,
    RoleRevoked, Sealed,
};
use daybook_vault::{InMemoryKeyStore, MasterKeys, Opened, OsAmbient, Vault};
use futures::executor::block_on;
use people::codes::*;
use people::{EraseKey, KeyErased, KeyEraser, Organizations, People};

const PERSON: PersonId = PersonId::from_u128(1);
const ORGANIZATION: OrganizationId = OrganizationId::from_u128(2);
const LABEL: &str = "people.person.email";

fn vault() -> Arc<Vault> {
    let master = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let masters = MasterKeys::parse(&[format!("first:{master}")]).unwrap();
    Arc::new(Vault::new(masters, Arc::new(InMemoryKeyStore::default()), Arc::new(OsAmbient::default())))
}

fn sealed_for(person: PersonId) -> Sealed {
    block_on(vault().seal(person.uuid(), LABEL, b"somebody@example.org")).unwrap()
}

fn register(sealed: &Sealed) -> RegisterPerson {
    RegisterPerson {
        person_id: PERSON,
        name: sealed.clone(),
        email: sealed.clone(),
        phone: None,
        language: "en-US".to_owned(),
        time_zone: "America/New_York".to_owned(),
        roles: vec!["learner".to_owned()],
    }
}

fn registered(sealed: &Sealed) -> PersonRegistered {
    let ask = register(sealed);
    PersonRegistered {
        person_id: PERSON,
        name: ask.name,
        email: ask.email,
        phone: None,
        language: ask.language,
        time_zone: ask.time_zone,
        roles: ask.roles,
    }
}

fn grant(role: &str) -> GrantRole {
    GrantRole { person_id: PERSON, role: role.to_owned(), organization_id: Some(ORGANIZATION) }
}

fn granted(role: &str) -> RoleGranted {
    RoleGranted { person_id: PERSON, role: role.to_owned(), organization_id: Some(ORGANIZATION) }
}

fn erase() -> ErasePerson {
    ErasePerson { person_id: PERSON, reason: "person-request".to_owned() }
}

fn erased() -> PersonErased {
    PersonErased { person_id: PERSON, reason: "person-request".to_owned() }
}

#[test]
fn a_person_is_registered_once_and_changes_contact_data() {
    let sealed = sealed_for(PERSON);
    let change = ChangeContact {
        person_id: PERSON,
        name: sealed.clone(),
        email: sealed.clone(),
        phone: Some(sealed.clone()),
        language: "es".to_owned(),
        time_zone: "UTC".to_owned(),
    };
    let changed = ContactChanged {
        person_id: PERSON,
        name: sealed.clone(),
        email: sealed.clone(),
        phone: Some(sealed.clone()),
        language: "es".to_owned(),
        time_zone: "UTC".to_owned(),
    };
    given::<People>([]).when(change.clone()).then_rejected(PERSON_UNKNOWN);
    given::<People>([])
        .when(register(&sealed))
        .then([registered(&sealed).into()])
        .when(register(&sealed))
        .then_rejected(ALREADY_REGISTERED)
        .when(change)
        .then([changed.into()]);
}

#[test]
fn what_is_not_sealed_for_this_person_is_refused() {
    let for_other = sealed_for(PersonId::from_u128(9));
    let bare = Sealed::new(b"somebody@example.org".to_vec());
    for wrong in [for_other, bare] {
        given::<People>([]).when(register(&wrong)).then_rejected(NOT_SEALED);
        let phone = RegisterPerson { phone: Some(wrong), ..register(&sealed_for(PERSON)) };
        given::<People>([]).when(phone).then_rejected(NOT_SEALED);
    }
}

#[test]
fn a_profile_must_make_sense() {
    let sealed = sealed_for(PERSON);
    for language in ["", "e n", "en--US", "123456789"] {
        let odd = RegisterPerson { language: language.to_owned(), ..register(&sealed) };
        given::<People>([]).when(odd).then_rejected(PROFILE_INVALID);
    }
    for time_zone in ["", "/etc/passwd", "Mars\0Base"] {
        let odd = RegisterPerson { time_zone: time_zone.to_owned(), ..register(&sealed) };
        given::<People>([]).when(odd).then_rejected(PROFILE_INVALID);
    }
    let odd = RegisterPerson { roles: vec!["king".to_owned()], ..register(&sealed) };
    given::<People>([]).when(odd).then_rejected(ROLE_UNKNOWN);
}

#[test]
fn roles_are_granted_and_revoked_and_said_again() {
    let revoke = || RevokeRole { person_id: PERSON, role: "finance".to_owned(), organization_id: Some(ORGANIZATION) };
    let revoked = || RoleRevoked { person_id: PERSON, role: "finance".to_owned(), organization_id: Some(ORGANIZATION) };
    given::<People>([registered(&sealed_for(PERSON)).into()])
        .when(grant("king"))
        .then_rejected(ROLE_UNKNOWN)
        .when(revoke())
        .then_already(revoked())
        .when(grant("finance"))
        .then([granted("finance").into()])
        .when(grant("finance"))
        .then_already(granted("finance"))
        .when(revoke())
        .then([revoked().into()]);
}

#[test]
fn an_erased_person_stays_erased_registered_or_not() {
    let sealed = sealed_for(PERSON);
    for before in [vec![], vec![registered(&sealed).into()]] {
        given::<People>(before)
            .when(erase())
            .then([erased().into()])
            .when(ErasePerson { reason: "court-order".to_owned(), ..erase() })
            .then_already(erased())
            .when(register(&sealed))
            .then_rejected(PERSON_ERASED)
            .when(grant("finance"))
            .then_rejected(PERSON_ERASED);
    }
}

#[test]
fn erasing_closes_the_command_and_asks_the_vault_to_destroy_the_key() {
    let mut bench = Bench::new(&people::parts(vault())[0]);
    let handled = bench.send(&erase()).unwrap();
    assert_eq!(handled.replies::<PersonErased>(), [erased()]);
    assert_eq!(handled.events::<PersonErased>(), [erased()]);
    let intent = bench.intent(PERSON).expect("the key is to be destroyed");
    assert_eq!(intent.reply, None, "the reply is given already");

    given::<People>([]).when(erase()).then([erased().into()]).when_concluded(Conclusion::Answered(KeyErased)).then([]);
}

#[test]
fn what_was_sealed_cannot_be_opened_after_the_erasure() {
    let vault = vault();
    let sealed = block_on(vault.seal(PERSON.uuid(), LABEL, b"somebody@example.org")).unwrap();
    let eraser = KeyEraser::new(Arc::clone(&vault));
    for _ in 0..2 {
        let attempt = block_on(eraser.perform(&EraseKey { person_id: PERSON }, "key"));
        assert_eq!(attempt, Attempt::Answered(KeyErased));
    }
    assert!(matches!(block_on(vault.open(LABEL, &sealed)).unwrap(), Opened::Erased));
}

#[test]
fn an_organization_is_registered_once() {
    let ask = || RegisterOrganization {
        organization_id: ORGANIZATION,
        name: "Lakeside Training".to_owned(),
        country: "US".to_owned(),
        currency: Currency::USD,
        time_zone: "America/Chicago".to_owned(),
    };
    let registered = || OrganizationRegistered {
        organization_id: ORGANIZATION,
        name: "Lakeside Training".to_owned(),
        country: "US".to_owned(),
        currency: Currency::USD,
        time_zone: "America/Chicago".to_owned(),
    };
    given::<Organizations>([])
        .when(ask())
        .then([registered().into()])
        .when(ask())
        .then_already(registered())
        .when(RegisterOrganization { name: "Another".to_owned(), ..ask() })
        .then_rejected(ORGANIZATION_EXISTS);
    let odd = RegisterOrganization { country: "usa".to_owned(), ..ask() };
    given::<Organizations>([]).when(odd).then_rejected(PROFILE_INVALID);
}
