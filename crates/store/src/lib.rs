#![doc = include_str!("../README.md")]

mod arguments;
mod claim;
mod error;
mod function;
mod identity;
mod keys;
mod load;
mod maintain;
mod migrate;
mod moment;
mod names;
mod operator;
mod part;
mod reads;
mod recovery;
mod ring;
mod settings;
mod store;

pub use error::Error;
pub use identity::{Identity, Refusal, Seen, SeenTopic, StartFrom, check_identity, check_partitions};
pub use keys::Keys;
pub use migrate::SCHEMA_VERSION;
pub use operator::{
    HistoryEntry, IntentView, LIST_MAX, Operator, ParkedFilter, ParkedRecord, ParkedView, PartitionView, SagaFilter,
    SagaView,
};
pub use part::{Answered, PartStore};
pub use reads::{Param, ROWS_MAX, Reads};
pub use recovery::Recovering;
pub use settings::{
    ANSWER_TIMEOUT, CONNECT_TIMEOUT, IDLE_IN_TRANSACTION_MS, LOCK_TIMEOUT_MS, READ_TIMEOUT_MS, STATEMENT_TIMEOUT_MS,
    Settings, TCP_USER_TIMEOUT_MS,
};
pub use store::Store;
