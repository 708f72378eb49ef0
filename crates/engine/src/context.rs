use daybook_events::{Actor, Timestamp, TraceContext};
use uuid::Uuid;

/// What runs through a flow unchanged, from the first request to the last consumer.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Thread {
    /// The command that started it all.
    pub correlation_id: Uuid,
    pub actor: Option<Actor>,
    /// The organization on whose behalf it runs.
    pub tenant: Option<Uuid>,
    pub trace: Option<TraceContext>,
}

/// What pure code may know besides state and message.
#[derive(Clone, Debug)]
pub struct Context {
    /// Fixed for the whole batch; the database's clock, never the worker's.
    pub now: Timestamp,
    /// Id of the message being handled; for a timer or a conclusion, an id derived from it.
    pub message_id: Uuid,
    pub thread: Thread,
}

impl Context {
    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn actor(&self) -> Option<&Actor> {
        self.thread.actor.as_ref()
    }

    pub fn tenant(&self) -> Option<Uuid> {
        self.thread.tenant
    }
}
