//! The platform on real servers, met as its users meet it.

mod compensations;
mod erasure;
mod flows;
mod kills;
mod operators;
mod records;
mod refusals;
mod requests;
mod traces;

use std::sync::OnceLock;

use e2e::Platform;

/// The platform that all tests share which kill nothing. It ends with this process.
///
/// # Panics
/// When it does not start; every test fails then.
fn shared() -> &'static Platform {
    static SHARED: OnceLock<Platform> = OnceLock::new();
    SHARED.get_or_init(|| {
        let mut platform = Platform::on_shared_servers("flows").expect("the servers start");
        platform.start().expect("the platform starts");
        platform
    })
}
