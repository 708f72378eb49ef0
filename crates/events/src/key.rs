//! Kafka keys, and the partition that a key belongs to.
//!
//! A key that is an id is written as its 36-character text, so that any Kafka tool shows it.

use std::borrow::Cow;

use uuid::Uuid;

use crate::derive_id;

/// Marks a key text that stands for bytes which are not text (or which begin like this mark).
const HEX_MARK: &str = "hex:";

/// The Kafka key of an entity: its id as 36 characters of lower-case text.
pub fn of(id: Uuid) -> [u8; 36] {
    let mut key = [0; 36];
    id.hyphenated().encode_lower(&mut key);
    key
}

/// The id that a Kafka key stands for; `None` unless it was written by [`of`].
pub fn parse(key: &[u8]) -> Option<Uuid> {
    let id = Uuid::try_parse_ascii(key).ok()?;
    (of(id) == key).then_some(id)
}

/// Any key as text: itself where it is UTF-8, or else `hex:` and its bytes. Undone by
/// [`from_text`].
pub fn to_text(key: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(key) {
        Ok(text) if !text.starts_with(HEX_MARK) => Cow::Borrowed(text),
        _ => {
            let mut text = String::with_capacity(HEX_MARK.len() + 2 * key.len());
            text.push_str(HEX_MARK);
            for byte in key {
                for nibble in [byte >> 4, byte & 0xf] {
                    text.push(char::from_digit(u32::from(nibble), 16).expect("below 16"));
                }
            }
            Cow::Owned(text)
        }
    }
}

/// The key that `text` stands for, as written by [`to_text`]. A `hex:` that is not followed by
/// whole bytes is taken as the text that it is.
pub fn from_text(text: &str) -> Vec<u8> {
    text.strip_prefix(HEX_MARK).and_then(hex_bytes).unwrap_or_else(|| text.as_bytes().to_vec())
}

fn hex_bytes(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some((nibble(*high)? << 4) | nibble(*low)?)).collect()
}

fn nibble(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// What may stand as the key field of a message.
pub(crate) trait KeyField {
    /// The entity's id. A key that is not an id has one derived from it.
    fn id(&self) -> Uuid;
    /// The key as Kafka has it.
    fn bytes(&self) -> Vec<u8>;
}

impl KeyField for Uuid {
    fn id(&self) -> Uuid {
        *self
    }

    fn bytes(&self) -> Vec<u8> {
        of(*self).to_vec()
    }
}

impl KeyField for String {
    fn id(&self) -> Uuid {
        let key = from_text(self);
        parse(&key).unwrap_or_else(|| derive_id("raw-key", &[&key]))
    }

    fn bytes(&self) -> Vec<u8> {
        from_text(self)
    }
}

/// The partition of `key` among `partitions`, as Kafka's default partitioner (Java) and
/// librdkafka's `murmur2` choose it.
///
/// # Panics
/// When `partitions` is 0.
pub fn partition(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// Kafka's variant of 32-bit MurmurHash2 (`org.apache.kafka.common.utils.Utils.murmur2`).
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SHIFT: u32 = 24;

    let (words, tail) = data.as_chunks::<4>();
    // Java's lengths are 32 bits wide; Kafka's keys are far shorter.
    let mut hash = SEED ^ (data.len() as u32);
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_agrees_with_the_java_client() {
        let known: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key), hash as u32, "{}", to_text(key));
        }
    }

    #[test]
    fn any_key_survives_as_text() {
        for key in [&b"plain"[..], b"", b"\xff\x00", b"hex:00", "é".as_bytes()] {
            assert_eq!(from_text(&to_text(key)), key);
        }
        assert_eq!(to_text(b"\xff\x0a"), "hex:ff0a");
        assert_eq!(from_text("hex:f"), b"hex:f");
    }

    #[test]
    fn only_the_canonical_text_is_an_id() {
        let id = Uuid::from_u128(7);
        assert_eq!(parse(&of(id)), Some(id));
        assert_eq!(parse(id.as_bytes()), None);
        assert_eq!(parse(id.simple().to_string().as_bytes()), None);
    }
}
