//! Idempotency keys: which requests are running, and where the answers of past ones stand in the log.

use crate::form::Form;
use crate::store::Span;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet, VecDeque};

/// SHA-256, in hexadecimal, of what makes two requests the same.
pub type Fingerprint = String;

/// The fingerprint of a request to this path with these parameters.
pub fn fingerprint(path: &str, form: &Form) -> Fingerprint {
    hex::encode(Sha256::new().chain_update(path).chain_update("\n").chain_update(form.canonical()).finalize())
}

/// What a key lets a request do.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go on. `struck` if a fault that left no answer already hit this key: it isn't hit again.
    Go { struck: bool },
    /// Give the answer that stands here.
    Replay(Span),
    /// Another request with this key is running.
    InUse,
    /// The key was used for another request.
    Reused,
}

enum State {
    Answered { fingerprint: Fingerprint, span: Span },
    Struck,
}

struct Known {
    at_ms: u64,
    state: State,
}

#[derive(Default)]
pub struct Keys {
    known: HashMap<String, Known>,
    /// Oldest first, to forget them in time.
    by_age: VecDeque<(u64, String)>,
    running: HashSet<String>,
}

impl Keys {
    /// Lets a request in, or says why not. One that may go on holds its key until `release`.
    pub fn admit(&mut self, key: &str, fingerprint: &str, now_ms: u64, lifetime_ms: u64) -> Admission {
        self.forget_expired(now_ms, lifetime_ms);
        if self.running.contains(key) {
            return Admission::InUse;
        }
        let struck = match self.known.get(key).map(|known| &known.state) {
            Some(State::Answered { fingerprint: first, .. }) if first != fingerprint => return Admission::Reused,
            Some(State::Answered { span, .. }) => return Admission::Replay(*span),
            Some(State::Struck) => true,
            None => false,
        };
        self.running.insert(key.to_owned());
        Admission::Go { struck }
    }

    pub fn release(&mut self, key: &str) {
        self.running.remove(key);
    }

    /// Remembers where the answer to a key stands.
    pub fn answered(&mut self, key: &str, fingerprint: Fingerprint, span: Span, at_ms: u64) {
        self.remember(key, State::Answered { fingerprint, span }, at_ms);
    }

    /// Remembers that a fault hit this key and left no answer under it.
    pub fn struck(&mut self, key: &str, at_ms: u64) {
        self.remember(key, State::Struck, at_ms);
    }

    fn remember(&mut self, key: &str, state: State, at_ms: u64) {
        self.known.insert(key.to_owned(), Known { at_ms, state });
        self.by_age.push_back((at_ms, key.to_owned()));
    }

    fn forget_expired(&mut self, now_ms: u64, lifetime_ms: u64) {
        while let Some((at_ms, key)) = self.by_age.front() {
            if now_ms.saturating_sub(*at_ms) < lifetime_ms {
                return;
            }
            // A key that was used again since has a later entry of its own.
            if self.known.get(key).is_some_and(|known| known.at_ms == *at_ms) {
                self.known.remove(key);
            }
            self.by_age.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { offset: 10, length: 20 };
    const LIFETIME_MS: u64 = 1_000;

    fn print(body: &str) -> Fingerprint {
        fingerprint("/v1/refunds", &Form::decode(body.as_bytes()).unwrap())
    }

    #[test]
    fn a_key_is_in_use_then_replayed_then_forgotten() {
        let (mut keys, print) = (Keys::default(), print("a=1"));
        assert_eq!(keys.admit("k", &print, 0, LIFETIME_MS), Admission::Go { struck: false });
        assert_eq!(keys.admit("k", &print, 0, LIFETIME_MS), Admission::InUse);
        keys.answered("k", print.clone(), SPAN, 0);
        keys.release("k");
        assert_eq!(keys.admit("k", &print, 999, LIFETIME_MS), Admission::Replay(SPAN));
        assert_eq!(keys.admit("k", &print, 1_000, LIFETIME_MS), Admission::Go { struck: false });
    }

    #[test]
    fn a_key_belongs_to_one_request() {
        let mut keys = Keys::default();
        keys.answered("k", print("a=1"), SPAN, 0);
        assert_eq!(keys.admit("k", &print("a=2"), 1, LIFETIME_MS), Admission::Reused);
        let other_path = fingerprint("/v1/payment_intents", &Form::decode(b"a=1").unwrap());
        assert_eq!(keys.admit("k", &other_path, 1, LIFETIME_MS), Admission::Reused);
    }

    #[test]
    fn a_struck_key_is_told_so_and_can_be_answered() {
        let (mut keys, print) = (Keys::default(), print("a=1"));
        keys.struck("k", 0);
        assert_eq!(keys.admit("k", &print, 1, LIFETIME_MS), Admission::Go { struck: true });
        keys.answered("k", print.clone(), SPAN, 500);
        keys.release("k");
        assert_eq!(keys.admit("k", &print, 1_100, LIFETIME_MS), Admission::Replay(SPAN), "the later use counts");
    }
}
