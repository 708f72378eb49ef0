//! The contract as others see it: bytes.

mod evolution;
mod golden;
mod header;
mod hostile;
mod samples;
