#![doc = include_str!("../README.md")]

mod accept;
mod admission;
mod auth;
mod backlog;
mod body;
pub mod codes;
mod command;
mod docs;
mod edge;
mod facade;
mod freshness;
mod guard;
mod html;
mod idempotency;
mod jwks;
mod known_tokens;
mod openapi;
mod operation;
mod operations;
mod overload;
mod pages;
mod pointer;
mod ports;
mod problem;
mod quota;
mod rate_limits;
mod reads;
mod recent;
pub mod testing;
mod wakes;

pub use accept::WAIT_MAX;
pub use auth::{Caller, Claims, MintError, Tokens, mint};
pub use backlog::{Backlog, Watched};
pub use codes::Code;
pub use command::{API_PREFIX, About, Asked, CommandRoute, command};
pub use daybook_consumer::Access;
pub use daybook_service::{Clock, Metrics, Secret};
pub use daybook_store::Param;
pub use daybook_vault::{Error as VaultError, Vault};
pub use facade::{BuildError, Deps, Facade};
pub use guard::{check_text, holds_card_number};
pub use idempotency::{IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_MAX_BYTES, RequestHasher};
pub use operation::{
    Failure, OPERATIONS_READ, OPERATOR, Operation, OperationRow, Outcome, STEPS_MAX, SagaState, Status, StepRow,
};
pub use operations::STREAMS_MAX;
pub use overload::Overload;
pub use pages::{PAGES, title_of};
pub use ports::{
    LogEnds, LogPublisher, NotPublished, NotReadable, Offsets, Outgoing, Publisher, ReadStore, StoreReads,
};
pub use problem::{FieldError, PROBLEM_JSON, Problem};
pub use rate_limits::{RateLimits, RateLimitsError};
pub use reads::{AFTER_OPERATION_MAX, LAG, ReadMount};
pub use wakes::{BadRedisUrl, Wakes, wake_channel};

/// What projections declare of their read routes.
pub mod read_route {
    pub use daybook_consumer::{Answer, Parameter, ParameterKind, ReadRoute, Source};
}
