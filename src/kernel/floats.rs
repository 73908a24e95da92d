//! What stands between the matrices: norms, softmax, GELU. In f32, in a fixed order.

use crate::Lanes;

/// Sums kept side by side, so that they can be added at once; then folded from the first to the last.
const WIDTH: usize = 16;

/// `1.5 × 2^23`: adding it rounds to a whole number, which is then in the lowest bits.
const LARGE: f32 = 12_582_912.0;

/// `out += values`.
pub fn add(lanes: Lanes, values: &[f32], out: &mut [f32]) {
    add_scaled(lanes, 1.0, values, out);
}

/// `out += factor × values`.
pub fn add_scaled(lanes: Lanes, factor: f32, values: &[f32], out: &mut [f32]) {
    lanes.run(
        #[inline(always)]
        || {
            for (place, value) in out.iter_mut().zip(values) {
                *place += factor * value;
            }
        },
    );
}

/// Each row of `values` brought to mean 0 and variance 1, then stretched by `weight` and moved by `bias`.
pub fn layer_norm(lanes: Lanes, values: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
    lanes.run(
        #[inline(always)]
        || {
            for row in values.chunks_exact_mut(weight.len()) {
                let count = row.len() as f32;
                let mean = sum(
                    row,
                    #[inline(always)]
                    |value| value,
                ) / count;
                for value in &mut *row {
                    *value -= mean;
                }
                let variance = sum(
                    row,
                    #[inline(always)]
                    |value| value * value,
                ) / count;
                let factor = 1.0 / (variance + epsilon).sqrt();
                for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
                    *value = *value * factor * weight + bias;
                }
            }
        },
    );
}

/// `values` times `factor`, as shares of 1: `exp(v) / Σ exp(v)`.
pub fn softmax(lanes: Lanes, values: &mut [f32], factor: f32) {
    lanes.run(
        #[inline(always)]
        || {
            for value in &mut *values {
                *value *= factor;
            }
            let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for value in &mut *values {
                *value = exp(*value - top);
            }
            let factor = 1.0
                / sum(
                    values,
                    #[inline(always)]
                    |value| value,
                );
            for value in &mut *values {
                *value *= factor;
            }
        },
    );
}

/// `x × Φ(x)`, with the exact error function and not its usual stand-in by tanh: so the model was trained.
pub fn gelu(lanes: Lanes, values: &mut [f32]) {
    lanes.run(
        #[inline(always)]
        || {
            for value in values {
                *value = 0.5 * *value * (1.0 + erf(*value * std::f32::consts::FRAC_1_SQRT_2));
            }
        },
    );
}

/// The largest absolute value; 0 for none.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<WIDTH>();
    let mut tops = [0.0_f32; WIDTH];
    for chunk in chunks {
        for (top, value) in tops.iter_mut().zip(chunk) {
            *top = top.max(value.abs());
        }
    }
    tops.iter()
        .chain(rest)
        .fold(0.0, |top, value| top.max(value.abs()))
}

#[inline(always)]
fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<WIDTH>();
    let mut sums = [0.0_f32; WIDTH];
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += of(*value);
        }
    }
    let folded = sums.iter().fold(0.0, |total, sum| total + sum);
    rest.iter().fold(folded, |total, value| total + of(*value))
}

/// `e^x` within 2 units of the last place; 0 and infinity are replaced by the smallest and a very large number.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // ln 2 in two parts: the first has so few bits that its product with a whole number is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + LARGE;
    let whole = shifted - LARGE;
    let r = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    let tail = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0)));
    let power = 1.0 + r * (1.0 + r * (0.5 + r * tail));
    // 2^whole: the whole number is in the lowest bits, and goes to where the exponent is.
    power * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
}

/// The error function within 3e-7: Abramowitz and Stegun 7.1.26.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let size = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let tail = -0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4));
    let poly = t * (0.254_829_6 + t * tail);
    (1.0 - poly * exp(-size * size)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_near_that_of_the_platform_over_its_whole_range() {
        for step in -8_700..=8_800 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 3e-7, "{x}");
        }
        assert!(exp(-1e30) > 0.0 && exp(-1e30) < 1e-37);
        assert!(exp(1e30).is_finite());
    }

    /// Values of tables.
    #[test]
    fn gelu_is_x_times_the_normal_distribution() {
        for (x, expected) in [
            (0.0, 0.0),
            (1.0, 0.841_344_7),
            (-1.0, -0.158_655_25),
            (0.5, 0.345_731_2),
            (2.0, 1.954_499_7),
            (-3.0, -0.004_049_694),
            (10.0, 10.0),
            (-20.0, 0.0),
        ] {
            let mut values = [x];
            gelu(Lanes::best(), &mut values);
            assert!((values[0] - expected).abs() < 1e-6, "{x}: {}", values[0]);
        }
    }

    #[test]
    fn softmax_gives_shares_of_one_whatever_the_size() {
        for count in [1, 5, 16, 40] {
            let mut values: Vec<f32> = (0..count).map(|n| n as f32 * 50.0 - 1000.0).collect();
            softmax(Lanes::best(), &mut values, 0.5);
            assert!(
                (values.iter().sum::<f32>() - 1.0).abs() < 1e-6,
                "{values:?}"
            );
            assert!(values.is_sorted());
        }
    }

    #[test]
    fn a_norm_has_mean_0_and_variance_1_before_it_is_stretched() {
        let mut values: Vec<f32> = (0..38).map(|n| (n * n % 17) as f32).collect();
        layer_norm(Lanes::best(), &mut values, &[2.0; 19], &[1.0; 19], 1e-12);
        for row in values.chunks(19) {
            let mean = row.iter().sum::<f32>() / 19.0;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 19.0;
            assert!(
                (mean - 1.0).abs() < 1e-5 && (variance - 4.0).abs() < 1e-4,
                "{mean} {variance}"
            );
        }
    }

    #[test]
    fn every_width_of_lanes_gives_the_same_bits() {
        let all = |lanes| {
            let mut values: Vec<f32> = (0..300)
                .map(|n| ((n * 37 % 101) as f32 - 50.0) / 9.0)
                .collect();
            gelu(lanes, &mut values);
            layer_norm(lanes, &mut values, &[1.5; 100], &[0.1; 100], 1e-12);
            values
                .chunks_mut(75)
                .for_each(|row| softmax(lanes, row, 0.7));
            values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(all(Lanes::Plain), all(Lanes::best()));
    }
}
