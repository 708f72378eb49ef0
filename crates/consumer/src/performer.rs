//! From an adapter's typed calls to the engine's bytes.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use daybook_engine::{Mode, Performance, Performed, Performer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Acts;

/// Carries out the requests of an aggregate: the one place that is neither pure nor synchronous.
pub trait Perform<A: Acts>: Send + Sync + 'static {
    /// Makes the call. `key` is the same at every attempt: the provider's idempotency key.
    fn perform(&self, request: &A::Request, key: &str) -> impl Future<Output = Attempt<A::Answer>> + Send;

    /// Finds out what became of the call, and changes nothing.
    fn look_up(&self, request: &A::Request, key: &str) -> impl Future<Output = Attempt<A::Answer>> + Send;
}

/// What came of one attempt. When in doubt it is `Unknown`: only what surely did not act is `Refused`.
#[derive(Clone, Debug, PartialEq)]
pub enum Attempt<T> {
    /// The outside world answered, well or badly.
    Answered(T),
    /// A lookup found nothing.
    NotFound,
    /// Surely not acted, and worth another attempt.
    Refused { code: &'static str },
    /// May have acted.
    Unknown { code: &'static str },
}

pub(crate) struct Performing<A, P> {
    adapter: Arc<P>,
    aggregate: PhantomData<A>,
}

impl<A, P> Performing<A, P> {
    pub(crate) fn new(adapter: P) -> Self {
        Self { adapter: Arc::new(adapter), aggregate: PhantomData }
    }
}

impl<A: Acts, P: Perform<A>> Performer for Performing<A, P> {
    fn perform(&self, performance: Performance) -> Pin<Box<dyn Future<Output = Performed> + Send>> {
        let adapter = Arc::clone(&self.adapter);
        Box::pin(async move {
            let Some(request) = decode::<A::Request>(&performance.request) else {
                return unreadable(performance.mode);
            };
            let key = &performance.idempotency_key;
            let attempt = match performance.mode {
                Mode::Call => adapter.perform(&request, key).await,
                Mode::LookUp => adapter.look_up(&request, key).await,
            };
            performed(attempt)
        })
    }
}

/// A request of a release that is not this one: nothing was sent now, but perhaps before.
fn unreadable(mode: Mode) -> Performed {
    let code = "request-unreadable".to_owned();
    match mode {
        Mode::Call => Performed::Refused { code },
        Mode::LookUp => Performed::Unknown { code },
    }
}

fn performed<T: Serialize>(attempt: Attempt<T>) -> Performed {
    match attempt {
        Attempt::Answered(answer) => match encode(&answer) {
            Some(bytes) => Performed::Answered(bytes),
            None => Performed::Unknown { code: "answer-unwritable".to_owned() },
        },
        Attempt::NotFound => Performed::NotFound,
        Attempt::Refused { code } => Performed::Refused { code: code.to_owned() },
        Attempt::Unknown { code } => Performed::Unknown { code: code.to_owned() },
    }
}

/// Requests and answers are JSON: an operator who resolves an effect by hand writes one.
pub(crate) fn encode<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
