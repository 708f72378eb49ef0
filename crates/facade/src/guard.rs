//! What is refused wherever it stands in a request: card numbers, and the one character that Postgres cannot store.

use crate::codes;
use crate::problem::Problem;

/// Digits of a card number (ISO/IEC 7812).
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Digits of a telephone number in E.164 form, which begins with a plus.
const PHONE_DIGITS_MAX: usize = 15;

/// Length of a UUID as text. One in some hundreds holds digits that look like a card's.
const UUID_CHARS: usize = 36;

/// Lengths of ids in hex without dashes: UUIDs, trace ids and MD5; SHA-1; SHA-256. One in some hundreds of them, too.
const HEX_ID_CHARS: [usize; 3] = [32, 40, 64];

/// Refuses a text that holds a card number or a NUL.
///
/// # Errors
/// `card-number-refused` or `text-invalid`; neither repeats the text.
pub fn check_text(text: &str) -> Result<(), Problem> {
    if text.contains('\0') {
        return Err(codes::TEXT_INVALID.into());
    }
    if holds_card_number(text.as_bytes()) {
        return Err(codes::CARD_NUMBER_REFUSED.into());
    }
    Ok(())
}

/// Whether there are 13 to 19 digits in a row, groups of them also parted by single spaces or dashes, that pass the Luhn
/// check. UUIDs, hashes in hex and telephone numbers in E.164 form are passed over.
pub fn holds_card_number(text: &[u8]) -> bool {
    let mut at = 0;
    while at < text.len() {
        if let Some(end) = end_of_id(text, at) {
            at = end;
        } else if text[at].is_ascii_digit() {
            let (groups, end) = groups_from(text, at);
            let is_phone = at > 0 && text[at - 1] == b'+' && digits_in(&groups) <= PHONE_DIGITS_MAX;
            if !is_phone && any_card_among(&groups) {
                return true;
            }
            at = end;
        } else {
            at += 1;
        }
    }
    false
}

/// Groups of digits that follow each other with one space or dash between, and where they end.
fn groups_from(text: &[u8], start: usize) -> (Vec<&[u8]>, usize) {
    let mut groups = Vec::new();
    let mut at = start;
    loop {
        let end = at + text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        groups.push(&text[at..end]);
        let parted = text.get(end).is_some_and(|byte| matches!(byte, b' ' | b'-'));
        let goes_on = text.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !parted || !goes_on || end_of_id(text, end + 1).is_some() {
            return (groups, end);
        }
        at = end + 1;
    }
}

fn digits_in(groups: &[&[u8]]) -> usize {
    groups.iter().map(|group| group.len()).sum()
}

/// Any of the groups alone or together with those that follow: a card number may have a neighbor.
fn any_card_among(groups: &[&[u8]]) -> bool {
    (0..groups.len()).any(|first| {
        let mut digits = Vec::with_capacity(*CARD_DIGITS.end());
        groups[first..].iter().any(|group| {
            if digits.len() + group.len() > *CARD_DIGITS.end() {
                digits.resize(CARD_DIGITS.end() + 1, b'0');
                return false;
            }
            digits.extend_from_slice(group);
            CARD_DIGITS.contains(&digits.len()) && passes_luhn(&digits)
        })
    })
}

/// ISO/IEC 7812-1, annex B: from the right every second digit is doubled, and the sum of digits ends in 0.
fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0') * if place % 2 == 1 { 2 } else { 1 };
            value / 10 + value % 10
        })
        .sum();
    // A row of zeros passes as well, and is nobody's card.
    sum > 0 && sum.is_multiple_of(10)
}

/// Where the id ends that begins here: a UUID, or a word in hex of the length of ids and hashes.
fn end_of_id(text: &[u8], at: usize) -> Option<usize> {
    let begins = at.checked_sub(1).is_none_or(|before| !text[before].is_ascii_alphanumeric());
    if !begins {
        return None;
    }
    let rest = &text[at..];
    let chars = if is_uuid(rest) { Some(UUID_CHARS) } else { hex_id_chars(rest) };
    chars.map(|chars| at + chars)
}

/// Whether a UUID, and nothing longer, stands first.
fn is_uuid(text: &[u8]) -> bool {
    let Some((candidate, rest)) = text.split_at_checked(UUID_CHARS) else {
        return false;
    };
    let ends = rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric());
    ends && candidate.iter().enumerate().all(|(place, byte)| match place {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

fn hex_id_chars(text: &[u8]) -> Option<usize> {
    let word = text.split(|byte| !byte.is_ascii_alphanumeric()).next()?;
    // Digits alone are no id in hex.
    let is_hex = word.iter().all(u8::is_ascii_hexdigit) && !word.iter().all(u8::is_ascii_digit);
    (is_hex && HEX_ID_CHARS.contains(&word.len())).then_some(word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_found_however_they_are_written() {
        for text in [
            "4242424242424242",
            "4242 4242 4242 4242",
            "4242-4242-4242-4242",
            "pay with 4242424242424242, please",
            "x4242424242424242y",
            "3782 822463 10005",
            "12 4242 4242 4242 4242",
            "4242 4242 4242 4242 12/30",
            "+4242424242424242",
            "abcdef4242424242424242",
            "4242424242424242 d41d8cd98f00b204e9800998ecf8427e",
        ] {
            assert!(holds_card_number(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_no_card_number_passes() {
        for text in [
            "4242424242424241",
            "424242424242",
            "42424242424242424242",
            "0000000000000000",
            "2026-03-01T12:00:00Z",
            "11111111-1111-4111-8111-111111111111",
            "42424242-4242-4242-8242-424242424242",
            "4242424242424242b204e9800998ecf8",
            "key-4242424242424242b204e9800998ecf842424242_1",
            "+4915123456784",
            "pm_card_visa",
        ] {
            assert!(!holds_card_number(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn uuids_are_passed_over_even_when_their_digits_would_do() {
        let found = (0..20_000u128).filter(|number| {
            let id = uuid::Uuid::from_u128(number * 0x1234_5678_9012_3456_7890_1234_5678);
            holds_card_number(id.to_string().as_bytes()) || holds_card_number(id.simple().to_string().as_bytes())
        });
        assert_eq!(found.count(), 0);
    }

    #[test]
    fn a_nul_is_refused() {
        assert_eq!(check_text("a\0b").map_err(|problem| problem.code()), Err(codes::TEXT_INVALID));
        assert!(check_text("a b").is_ok());
    }
}
