//! How leaves are tested: `given … when … then …` for what is decided, [`Bench`] for a whole part as the
//! engine sees it, [`shuffle_proof`] for projections.

mod bench;
mod given;
mod rows;
mod shuffle;

pub use bench::{Bench, Handled, REPLIES};
pub use given::{Decided, Given, given};
pub use rows::Tables;
pub use shuffle::shuffle_proof;
