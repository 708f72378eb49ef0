//! Where notifications find their recipients: the public view of the notifications' own projection.

use std::sync::Arc;

use anyhow::{Context, Result};
use daybook_engine::PARTITIONS;
use daybook_events::{Family, PersonEvent, PersonId, Sealed, key};
use daybook_log::Log;
use daybook_store::{Param, Reads};
use notifications::{Contact, ContactBook, ContactError, Listing};
use serde::Deserialize;

const PROJECTION: &str = "notification-contacts";
const FIND: &str = "SELECT name, email, language, erased FROM notification_contact WHERE person_id = $1";
/// What Postgres puts before the hex of bytes.
const HEX_MARK: &str = "\\x";

/// Contacts as the projection has them. Cheap to clone.
#[derive(Clone)]
pub struct Contacts {
    pub reads: Reads,
    pub log: Arc<Log>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    email: String,
    language: Option<String>,
    erased: bool,
}

impl Contacts {
    async fn row(&self, person_id: PersonId) -> Result<Option<Listing>> {
        let rows = self.reads.rows(FIND, &[Param::Uuid(Some(person_id.uuid()))]).await?;
        rows.into_iter().next().map(|row| listing(serde_json::from_value(row)?)).transpose()
    }

    /// Whether the projection has read everything of this person that is in its topic now.
    async fn is_up_to_date(&self, person_id: PersonId) -> Result<bool> {
        let partition = key::partition(&key::of(person_id.uuid()), u32::from(PARTITIONS));
        let partition = u16::try_from(partition).context("a partition is below PARTITIONS")?;
        let end = self.log.admin().ends(PersonEvent::TOPIC, partition).await?.end;
        let applied = self.reads.applied_offsets(PROJECTION).await?;
        Ok(applied.get(usize::from(partition)).is_some_and(|(next, _)| *next >= end))
    }

    async fn look(&self, person_id: PersonId) -> Result<Option<Listing>> {
        if let Some(listing) = self.row(person_id).await? {
            return Ok(Some(listing));
        }
        if !self.is_up_to_date(person_id).await? {
            return Ok(None);
        }
        // It may have been read between the two questions.
        Ok(Some(self.row(person_id).await?.unwrap_or(Listing::Unknown)))
    }
}

impl ContactBook for Contacts {
    async fn find(&self, person_id: PersonId) -> Result<Listing, ContactError> {
        match self.look(person_id).await {
            Ok(Some(listing)) => Ok(listing),
            Ok(None) => Err(ContactError::Behind),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the contacts cannot be asked");
                Err(ContactError::OutOfReach)
            }
        }
    }
}

fn listing(row: Row) -> Result<Listing> {
    if row.erased {
        return Ok(Listing::Erased);
    }
    let language = row.language.context("a contact has no language")?;
    Ok(Listing::Listed(Contact { name: sealed(&row.name)?, email: sealed(&row.email)?, language }))
}

fn sealed(text: &str) -> Result<Sealed> {
    let digits = text.strip_prefix(HEX_MARK).context("bytes are not told as hex")?;
    Ok(Sealed::new(hex::decode(digits).context("bytes are not told as hex")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, erased: bool) -> Row {
        Row { name: name.to_owned(), email: "\\x0102".to_owned(), language: Some("en".to_owned()), erased }
    }

    #[test]
    fn sealed_bytes_are_read_as_postgres_tells_them() {
        let listed = listing(row("\\xff", false)).unwrap();
        let Listing::Listed(contact) = listed else { panic!("listed") };
        assert_eq!((contact.name.as_bytes(), contact.email.as_bytes()), (&[0xff][..], &[1, 2][..]));
        assert!(listing(row("ff", false)).is_err());
    }

    #[test]
    fn an_erased_person_has_no_contact() {
        assert_eq!(listing(row("\\x", true)).unwrap(), Listing::Erased);
    }
}
