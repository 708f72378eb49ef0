//! Where recipients are found: contact data as `people` tells it, still sealed.

use std::future::Future;

use daybook_consumer::{Change, Columns, Meta, Owned, Projection, Row, TableOf, put};
use daybook_events::{PersonEvent, PersonId, Sealed};
use serde::Serialize;

/// The label that names are sealed under.
pub const NAME_LABEL: &str = "people.person.name";
/// The label that e-mail addresses are sealed under.
pub const EMAIL_LABEL: &str = "people.person.email";

/// The projection. It has no routes: its rows are for the adapter alone.
pub struct NotificationContacts;

/// A person's contact data, or that there is none any more.
#[derive(Debug, Default, Serialize)]
struct ContactRow {
    person_id: Option<PersonId>,
    /// Hex of the sealed bytes; empty when the person was erased.
    name: Option<String>,
    email: Option<String>,
    language: Option<String>,
    time_zone: Option<String>,
    erased: Option<bool>,
}

impl Row for ContactRow {
    const TABLE: &'static str = "notification_contact";
    type Kind = Owned;

    fn columns() -> Columns<Owned> {
        Columns::key("person_id", "uuid")
            .set("name", "bytea")
            .set("email", "bytea")
            .set("language", "text")
            .set("time_zone", "text")
            .set("erased", "boolean")
    }
}

impl Projection for NotificationContacts {
    const NAME: &'static str = "notification-contacts";
    type Event = PersonEvent;

    fn tables() -> Vec<TableOf> {
        vec![TableOf::rows::<ContactRow>()]
    }

    fn project(event: &PersonEvent, meta: &Meta<'_>) -> Vec<Change> {
        let row = match event {
            PersonEvent::PersonRegistered(event) => {
                contact(&event.name, &event.email, &event.language, &event.time_zone)
            }
            PersonEvent::ContactChanged(event) => contact(&event.name, &event.email, &event.language, &event.time_zone),
            PersonEvent::PersonErased(_) => ContactRow {
                name: Some(String::new()),
                email: Some(String::new()),
                erased: Some(true),
                ..ContactRow::default()
            },
            PersonEvent::RoleGranted(_) | PersonEvent::RoleRevoked(_) => return Vec::new(),
        };
        vec![put(&ContactRow { person_id: Some(PersonId::new(meta.key)), ..row })]
    }
}

fn contact(name: &Sealed, email: &Sealed, language: &str, time_zone: &str) -> ContactRow {
    ContactRow {
        person_id: None,
        name: Some(hex::encode(name.as_bytes())),
        email: Some(hex::encode(email.as_bytes())),
        language: Some(language.to_owned()),
        time_zone: Some(time_zone.to_owned()),
        erased: Some(false),
    }
}

/// Finds contact data; over the table `notification_contact` in production.
pub trait ContactBook: Send + Sync + 'static {
    /// What is known of a person.
    ///
    /// Answers [`Listing::Unknown`] only when the projection has read everything that was in its topic when it was asked:
    /// somebody who has just registered is otherwise told to be nobody, and a receipt is lost.
    ///
    /// # Errors
    /// When it cannot tell now: out of reach, or not up to date.
    fn find(&self, person_id: PersonId) -> impl Future<Output = Result<Listing, ContactError>> + Send;
}

/// What is known of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// A row with `erased` false.
    Listed(Contact),
    /// A row with `erased` true.
    Erased,
    /// No row.
    Unknown,
}

/// A person's contact data, sealed under [`NAME_LABEL`] and [`EMAIL_LABEL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    pub name: Sealed,
    pub email: Sealed,
    /// BCP 47 tag.
    pub language: String,
}

/// The book cannot tell now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    #[error("the contacts are out of reach")]
    OutOfReach,
    #[error("the contacts are not up to date")]
    Behind,
}
