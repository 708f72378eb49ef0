#![doc = include_str!("../README.md")]

mod aggregate;
mod aggregate_leaf;
mod code;
mod decision;
mod effects;
mod entity;
mod faults;
mod ownership;
mod part;
mod performer;
mod policy;
mod projection;
mod read_route;
mod readable;
mod reply;
mod state;
mod table;
pub mod testing;

pub use aggregate::Aggregate;
pub use code::{Code, Rejection};
pub use daybook_engine::{Change, Context, EffectPolicy, Fault, Fold, Incoming, OnUnknown, Provider, Thread};
pub use decision::{Decision, already, happened, happened_all, reject};
pub use effects::{Acts, Conclusion, Noticed};
pub use entity::Entity;
pub use faults::CODES as FAULT_CODES;
pub use ownership::{ANY_ORGANIZATION, acts_for};
pub use part::Part;
pub use performer::{Attempt, Perform};
pub use policy::{Ask, Policy};
pub use projection::{Meta, Projection};
pub use read_route::{Access, Answer, Parameter, ParameterKind, ReadRoute, Source};
pub use readable::Readable;
pub use state::State;
pub use table::{Columns, Merged, Owned, Row, RowKind, RowTime, TableOf, delete, put};
