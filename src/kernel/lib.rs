//! The loops over numbers of a small transformer: int8 matrices, and what stands between them; and of a search: the products
//! of stored vectors with one that is sought.
//!
//! A package of its own for one reason: a debug build must run these loops optimised (see `[profile.dev.package]` of the
//! program), or every test with a model takes minutes. No I/O, no names of models.
//!
//! **The same bits everywhere.** The sums of a matrix are integers. Floats are added in an order that is written down, never
//! fused, and `exp` is here instead of in the platform's library. So [`Lanes::Plain`] and [`Lanes::best`] differ in speed only.

mod bytes;
mod floats;
mod lanes;
mod matrix;

pub use bytes::{byte_dots, widened};
pub use floats::{add, add_scaled, gelu, layer_norm, softmax};
pub use lanes::Lanes;
pub use matrix::{Activations, Matrix, NotFinite};
