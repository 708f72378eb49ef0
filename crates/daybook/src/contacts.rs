//! Where notifications find their recipients: the public view of the notifications' own projection.

use std::sync::Arc;

use anyhow::{Context, Result};
use daybook_engine::PARTITIONS;
use daybook_events::{Family, PersonEvent, PersonId, Sealed, key};
use daybook_log::Log;
use daybook_store::{Param, Reads};
use notifications::{Contact, ContactBook, ContactError, Listing};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

const PROJECTION: &str = "notification-contacts";
const FIND: &str = "SELECT name, email, language, erased FROM notification_contact WHERE person_id = $1";
/// What Postgres puts before the hex of bytes.
const HEX_MARK: &str = "\\x";

/// Contacts as the projection has them. Cheap to clone.
#[derive(Clone)]
pub struct Contacts {
    reads: Reads,
    log: Arc<Log>,
    seen: Arc<Mutex<Option<Seen>>>,
}

/// Which partitions of its topic the projection had read to their ends.
#[derive(Clone, Copy)]
struct Seen {
    asked_at: Instant,
    up_to_date: [bool; PARTITIONS as usize],
}

#[derive(Deserialize)]
struct Row {
    name: String,
    email: String,
    language: Option<String>,
    erased: bool,
}

impl Contacts {
    pub fn new(reads: Reads, log: Arc<Log>) -> Self {
        Self { reads, log, seen: Arc::default() }
    }

    async fn row(&self, person_id: PersonId) -> Result<Option<Listing>> {
        let rows = self.reads.rows(FIND, &[Param::Uuid(Some(person_id.uuid()))]).await?;
        rows.into_iter().next().map(|row| listing(serde_json::from_value(row)?)).transpose()
    }

    /// Whether the projection has read everything of this person that is in its topic now. Those who wait share the next answer.
    async fn is_up_to_date(&self, person_id: PersonId) -> Result<bool> {
        let came_at = Instant::now();
        let partition = key::partition(&key::of(person_id.uuid()), u32::from(PARTITIONS));
        let mut seen = self.seen.lock().await;
        let fresh = seen.filter(|seen| seen.asked_at >= came_at);
        let Seen { up_to_date, .. } = match fresh {
            Some(fresh) => fresh,
            None => *seen.insert(self.see().await?),
        };
        Ok(up_to_date.get(usize::try_from(partition)?).copied().unwrap_or_default())
    }

    async fn see(&self) -> Result<Seen> {
        let asked_at = Instant::now();
        let ends = self.log.admin().all_ends(&[PersonEvent::TOPIC]).await?.concat();
        let applied = self.reads.applied_offsets(PROJECTION).await?;
        let mut up_to_date = [false; PARTITIONS as usize];
        for ((up_to_date, (next, _)), end) in up_to_date.iter_mut().zip(applied).zip(ends) {
            *up_to_date = next >= end;
        }
        Ok(Seen { asked_at, up_to_date })
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
