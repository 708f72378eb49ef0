//! The engine by itself: what happens is told by hand.

mod busy;
mod desk;
mod lagging;
