//! What the rows come to.

mod outcomes;
mod steps;
