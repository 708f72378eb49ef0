//! What must hold of a process's surroundings, on real sockets and files.

mod server;
mod settings;
mod telemetry;
