use daybook_engine::{Context, EffectPolicy};
use daybook_events::ProviderNotice;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{Aggregate, Code, Entity};

/// An aggregate that acts on the outside world. The intent *is* an event: it is in the book before
/// anything is done, and its entity takes no other message until the outcome is there.
pub trait Acts: Aggregate {
    /// What to ask of the outside world; stored, and sent unchanged at every attempt.
    type Request: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What it answered, well or badly.
    type Answer: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What its adapter can promise.
    const EFFECTS: EffectPolicy;

    /// What this event intends, if it is an intent. Never asked in a replay.
    fn request(event: &Self::Event) -> Option<Self::Request>;

    /// The parts that concluding this request looks at or changes.
    fn request_parts(_request: &Self::Request) -> Vec<Uuid> {
        Vec::new()
    }

    /// What the outcome comes to: the event that closes the command, or another intent that carries on for it.
    fn conclude(
        entity: &Entity<Self>,
        request: Self::Request,
        conclusion: Conclusion<Self::Answer>,
        cx: &Context,
    ) -> Vec<Self::Event>;

    /// Why the command is refused when its outcome is this event and nothing closes it: an undo that the
    /// provider would not carry out is no undo. The sender may ask again.
    fn refusal(_event: &Self::Event) -> Option<Code> {
        None
    }

    /// What a notice of the provider (a webhook) comes to. `pending` is the request under way: a notice may
    /// tell its outcome before the answer does. Notices come early, twice and out of order.
    fn notice(
        _entity: &Entity<Self>,
        _pending: Option<Self::Request>,
        _notice: &ProviderNotice,
        _cx: &Context,
    ) -> Noticed<Self::Event> {
        Noticed::nothing()
    }
}

/// How a request ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Conclusion<T> {
    Answered(T),
    /// Every attempt is known not to have acted, and no more are made.
    GaveUp {
        code: String,
    },
}

/// What comes of a notice.
#[derive(Clone, Debug, PartialEq)]
pub struct Noticed<E> {
    pub events: Vec<E>,
    /// Whether it tells the outcome of the request under way, which is then not waited for.
    pub concludes: bool,
}

impl<E> Noticed<E> {
    /// It says nothing new.
    pub fn nothing() -> Self {
        Self { events: Vec::new(), concludes: false }
    }

    /// Facts beside whatever is under way.
    pub fn facts(events: Vec<E>) -> Self {
        Self { events, concludes: false }
    }

    /// The outcome of the request under way.
    pub fn outcome(events: Vec<E>) -> Self {
        Self { events, concludes: true }
    }
}
