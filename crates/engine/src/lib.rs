#![doc = include_str!("../README.md")]

mod commit;
mod context;
mod effects;
mod io;
mod leaf;
mod record;
mod spec;

pub use commit::*;
pub use context::{Context, Thread};
pub use effects::*;
pub use io::*;
pub use leaf::*;
pub use record::*;
pub use spec::*;
