//! What is kept of an entity or a part, and its bytes: `hash(4) version(4) JSON`.

use std::fmt::Debug;

use daybook_engine::{Fault, ROW_BODY_MAX};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::faults::{STATE_TOO_LARGE, STATE_UNREADABLE, fault};

/// What events have come to. The default is the empty state: of an entity that was never seen, of a part
/// that is not (or no longer) there. A part that is empty again is deleted.
pub trait State: Default + Clone + PartialEq + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Raised with a change that `#[serde(default)]` cannot bridge; then [`State::upgrade`] reads the old.
    const VERSION: u32 = 1;

    /// Reads the JSON of an earlier version.
    fn upgrade(_version: u32, _json: &[u8]) -> Option<Self> {
        None
    }

    /// A short word for operators' queries, if that is wanted.
    fn status(&self) -> Option<&'static str> {
        None
    }
}

/// Of those who need no state, or no parts.
impl State for () {}

const PREFIX_BYTES: usize = 8;

/// `owner` tells whose row it is, so that a row read by the wrong part is noticed.
pub(crate) fn encode<S: State>(owner: &str, state: &S) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(&hash(owner).to_be_bytes());
    bytes.extend_from_slice(&S::VERSION.to_be_bytes());
    serde_json::to_writer(&mut bytes, state).map_err(|_| fault(STATE_UNREADABLE, "the state has no JSON form"))?;
    if bytes.len() > ROW_BODY_MAX {
        let detail = format!("{} bytes, of at most {ROW_BODY_MAX}", bytes.len());
        return Err(fault(STATE_TOO_LARGE, detail));
    }
    Ok(bytes)
}

pub(crate) fn decode<S: State>(owner: &str, bytes: &[u8]) -> Result<S, Fault> {
    let unreadable = |detail: String| fault(STATE_UNREADABLE, detail);
    let (prefix, json) =
        bytes.split_first_chunk::<PREFIX_BYTES>().ok_or_else(|| unreadable("it is too short".to_owned()))?;
    let [h0, h1, h2, h3, v0, v1, v2, v3] = *prefix;
    if u32::from_be_bytes([h0, h1, h2, h3]) != hash(owner) {
        return Err(unreadable("it was written by another part".to_owned()));
    }
    let version = u32::from_be_bytes([v0, v1, v2, v3]);
    let state = if version == S::VERSION {
        // serde's errors may quote the value, so they are not passed on.
        serde_json::from_slice(json).ok()
    } else {
        S::upgrade(version, json)
    };
    state.ok_or_else(|| unreadable(format!("it has version {version}, this release writes {}", S::VERSION)))
}

/// FNV-1a, 32 bits.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Counter {
        count: u64,
    }

    impl State for Counter {
        const VERSION: u32 = 2;

        fn upgrade(version: u32, json: &[u8]) -> Option<Self> {
            let count = serde_json::from_slice(json).ok()?;
            (version == 1).then_some(Self { count })
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let bytes = encode("counter", &Counter { count: 7 }).unwrap();
        assert_eq!(decode("counter", &bytes), Ok(Counter { count: 7 }));
    }

    #[test]
    fn an_older_version_is_upgraded_and_a_newer_or_foreign_one_refused() {
        let with_version = |version: u32, json: &[u8]| {
            let mut bytes = hash("counter").to_be_bytes().to_vec();
            bytes.extend_from_slice(&version.to_be_bytes());
            bytes.extend_from_slice(json);
            bytes
        };
        assert_eq!(decode("counter", &with_version(1, b"7")), Ok(Counter { count: 7 }));
        for bytes in [with_version(3, b"{\"count\":7}"), with_version(2, b"7"), vec![1, 2, 3]] {
            assert_eq!(decode::<Counter>("counter", &bytes).unwrap_err().code, "state-unreadable");
        }
        let foreign = decode::<Counter>("other", &with_version(2, b"{\"count\":7}")).unwrap_err();
        assert_eq!(foreign.detail, "it was written by another part");
    }

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Text(String);

    impl State for Text {}

    #[test]
    fn a_state_is_bounded() {
        let error = encode("text", &Text("x".repeat(ROW_BODY_MAX))).unwrap_err();
        assert_eq!(error.code, "state-too-large");
    }
}
