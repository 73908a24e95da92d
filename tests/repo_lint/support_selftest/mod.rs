//! The test servers do what the tests that use them rely on: they start, stop, die, freeze and come back, and the proxy is
//! slow, dead or cut when told to.
//!
//! Times are only ever measured from below: a busy machine is no fault.

#![allow(clippy::unwrap_used)] // a test may fail

mod network;
mod own_postgres;
mod own_redis;
mod own_redis_cluster;
mod shared;
