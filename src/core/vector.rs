//! The meaning of a text as numbers, and the name of the model that gave it.
//!
//! Here, in the chat layer, because rows, the verifier and every embedder speak of vectors, while only
//! `embed` knows where they come from. Pure: the same floats give the same bytes on every machine, so two
//! nodes, or a node and a later `verify --repair`, write the same row.

use super::similarity::cosine;
use std::fmt;
use std::sync::Arc;

/// The length a full component has in the quantised form: `round(127·x)`.
const FULL: f64 = 127.0;

/// How many products of two signed bytes are summed in 32 bits before the sum is widened:
/// 65,536 × 128 × 128 = 2^30 cannot overflow an `i32`.
pub(super) const DOT_BLOCK: usize = 65_536;

/// Names one embedding model exactly: `NAME:DIM:HEX8`, as stored in `cache_embeddings.embedding_model`.
///
/// HEX8 is the first 8 hexadecimal digits of a SHA-256 that changes whenever the vectors would. Vectors whose
/// ids differ must never be compared. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId(Arc<str>);

impl ModelId {
    /// From the model's name (it may hold colons), the number of dimensions, and the SHA-256 that tells two
    /// states of that model apart.
    pub fn new(name: &str, dimension: usize, digest: &[u8; 32]) -> Self {
        let [a, b, c, d, ..] = digest;
        Self(format!("{name}:{dimension}:{a:02x}{b:02x}{c:02x}{d:02x}").into())
    }

    /// The stored form, `NAME:DIM:HEX8`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why some numbers are not a vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadVector {
    /// There are no components at all.
    #[error("the vector is empty")]
    Empty,
    /// The number of components is not the model's.
    #[error("the vector has {found} dimensions, expected {expected}")]
    WrongDimension {
        /// What the model is configured to give.
        expected: usize,
        /// What it gave.
        found: usize,
    },
    /// A component is NaN or infinite.
    #[error("component {index} of the vector is not a finite number")]
    NotFinite {
        /// The first such component, from 0.
        index: usize,
    },
    /// A stored byte is -128, which quantising never gives: the row is damaged or not ours.
    #[error("component {index} of the stored vector is -128, outside -127..=127")]
    OutOfRange {
        /// The first such component, from 0.
        index: usize,
    },
    /// Every component is zero (for bytes: after rounding), so there is no direction.
    #[error("the vector is zero")]
    Zero,
}

/// A unit vector, quantised to one signed byte per dimension: `round(127·x)`, each in `-127..=127`.
///
/// Never empty and never all zero. Measured on the evaluation set, this form costs no search quality.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Vector(Box<[i8]>);

impl Vector {
    /// Scales `components` to length 1 and rounds each to a signed byte.
    ///
    /// # Errors
    /// [`BadVector`] if there are none, not exactly `dimension`, one is not finite, or all are zero.
    pub fn quantise(components: &[f32], dimension: usize) -> Result<Self, BadVector> {
        if components.is_empty() {
            return Err(BadVector::Empty);
        }
        if components.len() != dimension {
            return Err(BadVector::WrongDimension {
                expected: dimension,
                found: components.len(),
            });
        }
        let square = sum_of_squares(components);
        if !square.is_finite() {
            // A finite f32 squared is below 2^256, so only a component that is not finite itself leads here.
            let index = components.iter().position(|x| !x.is_finite());
            return Err(BadVector::NotFinite {
                index: index.unwrap_or_default(),
            });
        }
        // The smallest f32 squared is 2^-298, a normal f64: the sum is zero only if every component is.
        if square == 0.0 {
            return Err(BadVector::Zero);
        }
        let scale = FULL / square.sqrt();
        Self::checked(components.iter().map(|&x| round(f64::from(x) * scale)))
    }

    /// Reads back what [`Vector::to_bytes`] gave.
    ///
    /// # Errors
    /// [`BadVector`] if `bytes` cannot have come from there: empty, all zero, or holding -128.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadVector> {
        if bytes.is_empty() {
            return Err(BadVector::Empty);
        }
        let vector = Self::checked(bytes.iter().map(|&byte| byte.cast_signed()))?;
        match vector.0.iter().position(|&x| x == i8::MIN) {
            Some(index) => Err(BadVector::OutOfRange { index }),
            None => Ok(vector),
        }
    }

    /// The stored form: one byte per dimension, two's complement (what sqlite-vec reads as int8).
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().map(|x| x.cast_unsigned()).collect()
    }

    /// The quantised components, each in `-127..=127`.
    pub fn components(&self) -> &[i8] {
        &self.0
    }

    /// How many components there are; at least 1.
    pub fn dimension(&self) -> usize {
        self.0.len()
    }

    /// The exact sum of the products of the quantised components; `None` if the dimensions differ.
    pub fn dot(&self, other: &Self) -> Option<i64> {
        if self.dimension() != other.dimension() {
            return None;
        }
        let blocks = self.0.chunks(DOT_BLOCK).zip(other.0.chunks(DOT_BLOCK));
        Some(blocks.map(|(a, b)| i64::from(dot_block(a, b))).sum())
    }

    /// The cosine of the angle between the two, `-1.0..=1.0`; `None` if the dimensions differ.
    ///
    /// Only for vectors of one model: see [`ModelId`].
    pub fn cosine(&self, other: &Self) -> Option<f32> {
        let dot = self.dot(other)?;
        Some(cosine(dot, self.dot(self)?, other.dot(other)?))
    }

    fn checked(components: impl Iterator<Item = i8>) -> Result<Self, BadVector> {
        let components: Box<[i8]> = components.collect();
        // Beyond 64,516 dimensions even a unit vector can round to nothing but zeros.
        if components.iter().all(|&x| x == 0) {
            return Err(BadVector::Zero);
        }
        Ok(Self(components))
    }
}

impl fmt::Debug for Vector {
    /// Only the size: hundreds of numbers in a log line help nobody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vector({} dimensions)", self.0.len())
    }
}

/// In eight lanes of f64, added up in a fixed order: fast, and the same bits on every machine.
fn sum_of_squares(components: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let (eights, rest) = components.as_chunks::<8>();
    for eight in eights {
        for (lane, &x) in lanes.iter_mut().zip(eight) {
            *lane += f64::from(x) * f64::from(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(x) * f64::from(x);
    }
    lanes.iter().sum()
}

/// Rounds a number of at most about 127 in size to the nearest integer, ties to even.
fn round(x: f64) -> i8 {
    // Adding 1.5 * 2^52 leaves the integer nearest to x in the low bits of the sum, in two's complement. This is
    // exact by IEEE 754 and vectorises, where `f64::round` is a call into libm on a baseline x86-64.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    (x + SHIFT).to_bits() as i8
}

pub(super) fn dot_block(a: &[i8], b: &[i8]) -> i32 {
    a.iter()
        .zip(b)
        .map(|(&x, &y)| i32::from(x) * i32::from(y))
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;

    #[test]
    fn a_model_id_is_name_dimension_and_eight_digits() {
        let mut digest = [0xff; 32];
        digest[..4].copy_from_slice(&[0x63, 0x55, 0xd7, 0x0a]);
        let id = ModelId::new("static-256-i8", 256, &digest);
        assert_eq!(id.to_string(), "static-256-i8:256:6355d70a");
        assert_eq!(id.as_str(), id.clone().to_string());
    }

    #[test]
    fn quantising_normalises_and_rounds() {
        let vector = Vector::quantise(&[3.0, -4.0, 0.0], 3).unwrap();
        assert_eq!(vector.components(), [76, -102, 0]); // 127 · 0.6 = 76.2, 127 · 0.8 = 101.6
        for tiny_or_huge in [f32::from_bits(1), f32::MAX] {
            let vector = Vector::quantise(&[0.0, -tiny_or_huge], 2).unwrap();
            assert_eq!(vector.components(), [0, -127]);
        }
    }

    #[test]
    fn the_fast_rounding_is_the_exact_one() {
        for step in -127_000..=127_000 {
            let x = f64::from(step) / 1000.0;
            assert_eq!(round(x), x.round_ties_even() as i8, "{x}");
        }
        assert_eq!(round(0.499_999_999_999_999_94), 0);
    }

    #[test]
    fn what_is_no_vector_is_refused_with_the_reason() {
        let zeros = vec![1.0; 70_000]; // each rounds to zero
        let cases: [(&[f32], usize, BadVector); 6] = [
            (&[], 2, BadVector::Empty),
            (
                &[1.0],
                2,
                BadVector::WrongDimension {
                    expected: 2,
                    found: 1,
                },
            ),
            (&[1.0, f32::NAN], 2, BadVector::NotFinite { index: 1 }),
            (
                &[f32::NEG_INFINITY, 1.0],
                2,
                BadVector::NotFinite { index: 0 },
            ),
            (&[0.0, -0.0], 2, BadVector::Zero),
            (&zeros, 70_000, BadVector::Zero),
        ];
        for (components, dimension, reason) in cases {
            assert_eq!(Vector::quantise(components, dimension), Err(reason));
        }
    }

    #[test]
    fn bytes_come_back_and_foreign_bytes_are_refused() {
        let vector = Vector::quantise(&[1.0, -2.0, 0.5], 3).unwrap();
        assert_eq!(Vector::from_bytes(&vector.to_bytes()), Ok(vector));
        assert_eq!(Vector::from_bytes(&[]), Err(BadVector::Empty));
        assert_eq!(Vector::from_bytes(&[0, 0]), Err(BadVector::Zero));
        let out = BadVector::OutOfRange { index: 1 };
        assert_eq!(Vector::from_bytes(&[1, 0x80]), Err(out));
    }

    #[test]
    fn cosine_measures_the_angle() {
        let vector = |x: &[f32]| Vector::quantise(x, x.len()).unwrap();
        let (x, y) = (vector(&[1.0, 0.0]), vector(&[0.0, 1.0]));
        assert_eq!(x.cosine(&x), Some(1.0));
        assert_eq!(x.cosine(&y), Some(0.0));
        assert_eq!(x.cosine(&vector(&[-5.0, 0.0])), Some(-1.0));
        assert_eq!(x.cosine(&vector(&[1.0])), None);
        assert_eq!(x.dot(&x), Some(127 * 127));
    }
}
