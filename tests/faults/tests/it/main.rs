//! The platform struck by real faults, and the proxy that brings some of them.

mod proxies;
mod run;
