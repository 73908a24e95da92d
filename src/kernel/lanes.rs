//! How wide the loops run.

use fearless_simd::{Level, Simd, dispatch};

/// Which instructions the loops are compiled to; the results are the same to the bit.
#[derive(Clone, Copy, Debug)]
pub enum Lanes {
    /// What every CPU of this architecture has: the twin that the other is held to.
    Plain,
    /// What this CPU has (AVX2, AVX-512, …).
    Wide(Level),
}

impl Lanes {
    /// The best this CPU has.
    pub fn best() -> Self {
        Self::Wide(Level::new())
    }

    /// Runs `work` compiled for these instructions. It must be `#[inline(always)]`, and all it calls as well: what is not
    /// inlined is compiled for every CPU.
    #[inline(always)]
    pub(crate) fn run<T>(self, work: impl FnOnce() -> T) -> T {
        match self {
            Self::Plain => work(),
            Self::Wide(level) => dispatch!(level, simd => simd.vectorize(work)),
        }
    }
}
