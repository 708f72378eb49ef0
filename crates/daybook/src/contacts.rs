//! Where notifications find their recipients: the public view of the notifications' own projection.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use daybook_engine::PARTITIONS;
use daybook_events::{Family, PersonEvent, PersonId, Sealed, key};
use daybook_log::Log;
use daybook_service::Together;
use daybook_store::{Param, Reads};
use notifications::{Contact, ContactBook, ContactError, Listing};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

const PROJECTION: &str = "notification-contacts";
const FIND: &str =
    "SELECT person_id, name, email, language, erased FROM notification_contact WHERE person_id = ANY ($1)";
/// What Postgres puts before the hex of bytes.
const HEX_MARK: &str = "\\x";

/// Contacts as the projection has them. Cheap to clone.
#[derive(Clone)]
pub struct Contacts {
    reads: Reads,
    log: Arc<Log>,
    together: Arc<Together<Found, ContactError>>,
}

/// A person's row; `None`: there is none, and the projection has read everything of this person.
type Found = Option<Value>;

#[derive(Deserialize)]
struct Row {
    name: String,
    email: String,
    language: Option<String>,
    erased: bool,
}

impl Contacts {
    pub fn new(reads: Reads, log: Arc<Log>) -> Self {
        Self { reads, log, together: Arc::default() }
    }

    async fn rows(&self, persons: &[Uuid]) -> Result<HashMap<Uuid, Found>> {
        let rows = self.reads.rows(FIND, &[Param::Uuids(persons.to_vec())]).await?;
        rows.into_iter().map(|row| Ok((Uuid::deserialize(&row["person_id"])?, Some(row)))).collect()
    }

    /// Which partitions of its topic the projection has read to where they end now.
    async fn up_to_date(&self) -> Result<Vec<bool>> {
        let ends = self.log.admin().all_ends(&[PersonEvent::TOPIC]).await?.concat();
        let applied = self.reads.applied_offsets(PROJECTION).await?;
        Ok(applied.into_iter().zip(ends).map(|((next, _), end)| next >= end).collect())
    }

    /// Without those of whom there may be something that the projection has not read.
    async fn find_all(&self, persons: Vec<Uuid>) -> Result<HashMap<Uuid, Found>> {
        let mut found = self.rows(&persons).await?;
        let missing: Vec<Uuid> = persons.into_iter().filter(|person| !found.contains_key(person)).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let up_to_date = self.up_to_date().await?;
        // They may have been read between the two questions.
        let rows = self.rows(&missing).await?;
        let is_read = |person: &Uuid| up_to_date.get(partition(*person)).copied().unwrap_or_default();
        found.extend(missing.into_iter().filter(is_read).map(|person| (person, None)));
        found.extend(rows);
        Ok(found)
    }
}

impl ContactBook for Contacts {
    async fn find(&self, person_id: PersonId) -> Result<Listing, ContactError> {
        let ask = |persons| async { self.find_all(persons).await.map_err(|error| out_of_reach(&error)) };
        match self.together.find(person_id.uuid(), ask).await? {
            None => Err(ContactError::Behind),
            Some(None) => Ok(Listing::Unknown),
            Some(Some(row)) => listing(row).map_err(|error| out_of_reach(&error)),
        }
    }
}

fn out_of_reach(error: &anyhow::Error) -> ContactError {
    tracing::warn!(error = format!("{error:#}"), "the contacts cannot be asked");
    ContactError::OutOfReach
}

fn partition(person: Uuid) -> usize {
    key::partition(&key::of(person), u32::from(PARTITIONS)) as usize
}

fn listing(row: Value) -> Result<Listing> {
    let row: Row = serde_json::from_value(row)?;
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
    use serde_json::json;

    use super::*;

    fn row(name: &str, erased: bool) -> Value {
        json!({ "name": name, "email": "\\x0102", "language": "en", "erased": erased })
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
