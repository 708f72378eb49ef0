//! The engine by itself: what happens is told by hand.

mod desk;
mod lagging;
