//! What a profile has to look like. The rules are about form: nobody's data is understood here.

use daybook_consumer::{Rejection, ensure};
use daybook_events::{PersonId, Sealed};

use crate::codes::{NOT_SEALED, PROFILE_INVALID};

const LANGUAGE_MAX_CHARS: usize = 35;
const TIME_ZONE_MAX_CHARS: usize = 64;

pub(crate) fn check_sealed(
    person_id: PersonId,
    name: &Sealed,
    email: &Sealed,
    phone: Option<&Sealed>,
) -> Result<(), Rejection> {
    let is_theirs = |sealed: &Sealed| daybook_vault::owner_of(sealed).is_ok_and(|owner| owner == person_id.uuid());
    ensure!(is_theirs(name), NOT_SEALED, "name");
    ensure!(is_theirs(email), NOT_SEALED, "email");
    ensure!(phone.is_none_or(is_theirs), NOT_SEALED, "phone");
    Ok(())
}

pub(crate) fn check_locale(language: &str, time_zone: &str) -> Result<(), Rejection> {
    ensure!(is_language(language), PROFILE_INVALID, "language");
    check_time_zone(time_zone)
}

pub(crate) fn check_time_zone(time_zone: &str) -> Result<(), Rejection> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
    let is_name = time_zone.starts_with(|first: char| first.is_ascii_alphabetic())
        && time_zone.len() <= TIME_ZONE_MAX_CHARS
        && time_zone.bytes().all(is_letter);
    ensure!(is_name, PROFILE_INVALID, "time_zone");
    Ok(())
}

/// The form of a BCP 47 tag: subtags of one to eight letters or digits, the first of letters.
fn is_language(tag: &str) -> bool {
    let is_subtag =
        |subtag: &str| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    tag.len() <= LANGUAGE_MAX_CHARS
        && tag.starts_with(|first: char| first.is_ascii_alphabetic())
        && tag.split('-').all(is_subtag)
}
