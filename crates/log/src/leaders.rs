//! Keeps librdkafka from applying the leaders that answers to fetches tell (KIP-951).
#![expect(unsafe_code, reason = "the linker finds it by its name")]

use std::ffi::{c_int, c_void};

/// `RD_KAFKA_OP_RES_HANDLED`: whoever calls has nothing more to do than to free what it has passed.
const HANDLED: c_int = 1;

/// Takes the place of `rd_kafka_metadata_update_op` in a program that is linked with `--wrap` of that name (`crates/daybook/build.rs`),
/// and does nothing.
///
/// When one answer to a fetch names partitions with a leader and partitions without one, as while a broker starts, librdkafka 2.12
/// counts both and fills in the first only; the rest is read uninitialized, and the process ends by SIGSEGV (confluentinc/librdkafka#5280).
/// Without the update a client asks for the leaders as it did before KIP-951: at once, when a partition's leader is not the one that
/// it asked. To be taken out with a librdkafka in which that is mended.
#[unsafe(no_mangle)]
extern "C" fn __wrap_rd_kafka_metadata_update_op(_client: *mut c_void, _update: *mut c_void) -> c_int {
    HANDLED
}
