//! The forward pass: ids in, the mean of the last layer's rows out.

use guestbook_kernel::{Activations, Lanes, Matrix, add, add_scaled, gelu, layer_norm, softmax};

/// A matrix and what is added to its products.
pub(super) struct Linear {
    pub(super) matrix: Matrix,
    pub(super) bias: Vec<f32>,
}

/// Stretch and shift after a norm.
pub(super) struct Norm {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// One layer: attention, then two matrices, each with what came in added and a norm.
pub(super) struct Layer {
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    pub(super) joined: Linear,
    pub(super) attention_norm: Norm,
    pub(super) wide: Linear,
    pub(super) narrow: Linear,
    pub(super) norm: Norm,
}

/// The whole model. Its parts fit together: `files` has checked every shape.
pub(super) struct Encoder {
    pub(super) words: Matrix,
    pub(super) places: Matrix,
    /// Of the first kind of token; there is no second text.
    pub(super) kind: Vec<f32>,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Layer>,
    pub(super) heads: usize,
    pub(super) epsilon: f32,
}

/// Buffers of one worker, kept from text to text.
#[derive(Default)]
pub(super) struct Scratch {
    rows: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    joined: Vec<f32>,
    wide: Vec<f32>,
    turned: Vec<f32>,
    shares: Vec<f32>,
    mean: Vec<f32>,
    activations: Activations,
}

impl Encoder {
    pub(super) fn dimension(&self) -> usize {
        self.words.columns()
    }

    /// The longest text, in pieces.
    pub(super) fn positions(&self) -> usize {
        self.places.rows()
    }

    /// The mean of the rows that the last layer gives to `ids`, each below the number of words, at most
    /// [`Self::positions`] of them.
    pub(super) fn mean<'a>(&self, lanes: Lanes, ids: &[u32], s: &'a mut Scratch) -> &'a [f32] {
        let hidden = self.dimension();
        s.rows.clear();
        s.rows.resize(ids.len() * hidden, 0.0);
        for (place, (&id, row)) in ids.iter().zip(s.rows.chunks_exact_mut(hidden)).enumerate() {
            self.words.add_row(id as usize, row);
            self.places.add_row(place, row);
            add(lanes, &self.kind, row);
        }
        self.norm.apply(lanes, &mut s.rows, self.epsilon);
        for layer in &self.layers {
            self.attend(lanes, layer, s);
            self.widen(lanes, layer, s);
        }
        s.mean.clear();
        s.mean.resize(hidden, 0.0);
        for row in s.rows.chunks_exact(hidden) {
            add_scaled(lanes, 1.0 / ids.len() as f32, row, &mut s.mean);
        }
        &s.mean
    }

    /// Each row takes from the others what its query finds in their keys.
    fn attend(&self, lanes: Lanes, layer: &Layer, s: &mut Scratch) {
        let hidden = self.dimension();
        s.activations.set(lanes, &s.rows, hidden);
        layer
            .query
            .apply(lanes, &s.activations, &mut s.query, s.rows.len() / hidden);
        layer
            .key
            .apply(lanes, &s.activations, &mut s.key, s.rows.len() / hidden);
        layer
            .value
            .apply(lanes, &s.activations, &mut s.value, s.rows.len() / hidden);
        s.joined.clear();
        s.joined.resize(s.rows.len(), 0.0);
        for head in 0..self.heads {
            self.attend_with(lanes, head, s);
        }
        s.activations.set(lanes, &s.joined, hidden);
        layer
            .joined
            .apply(lanes, &s.activations, &mut s.query, s.rows.len() / hidden);
        add(lanes, &s.query, &mut s.rows);
        layer.attention_norm.apply(lanes, &mut s.rows, self.epsilon);
    }

    /// One head: its part of every row.
    fn attend_with(&self, lanes: Lanes, head: usize, s: &mut Scratch) {
        let hidden = self.dimension();
        let size = hidden / self.heads;
        let part = head * size..(head + 1) * size;
        let count = s.rows.len() / hidden;
        // The keys with rows and columns changed: sums over a whole row of them need no folding.
        s.turned.clear();
        s.turned.resize(size * count, 0.0);
        for (place, key) in s.key.chunks_exact(hidden).enumerate() {
            for (column, value) in key[part.clone()].iter().enumerate() {
                s.turned[column * count + place] = *value;
            }
        }
        s.shares.resize(count, 0.0);
        let factor = 1.0 / (size as f32).sqrt();
        let queries = s.query.chunks_exact(hidden);
        for (query, joined) in queries.zip(s.joined.chunks_exact_mut(hidden)) {
            s.shares.fill(0.0);
            for (value, keys) in query[part.clone()].iter().zip(s.turned.chunks_exact(count)) {
                add_scaled(lanes, *value, keys, &mut s.shares);
            }
            softmax(lanes, &mut s.shares, factor);
            let joined = &mut joined[part.clone()];
            for (share, value) in s.shares.iter().zip(s.value.chunks_exact(hidden)) {
                add_scaled(lanes, *share, &value[part.clone()], joined);
            }
        }
    }

    /// Each row by itself, through more dimensions and back.
    fn widen(&self, lanes: Lanes, layer: &Layer, s: &mut Scratch) {
        let hidden = self.dimension();
        let count = s.rows.len() / hidden;
        s.activations.set(lanes, &s.rows, hidden);
        layer.wide.apply(lanes, &s.activations, &mut s.wide, count);
        gelu(lanes, &mut s.wide);
        s.activations.set(lanes, &s.wide, layer.wide.matrix.rows());
        layer
            .narrow
            .apply(lanes, &s.activations, &mut s.joined, count);
        add(lanes, &s.joined, &mut s.rows);
        layer.norm.apply(lanes, &mut s.rows, self.epsilon);
    }
}

impl Linear {
    fn apply(&self, lanes: Lanes, input: &Activations, out: &mut Vec<f32>, count: usize) {
        out.resize(count * self.matrix.rows(), 0.0);
        self.matrix.apply(lanes, input, &self.bias, out);
    }
}

impl Norm {
    fn apply(&self, lanes: Lanes, rows: &mut [f32], epsilon: f32) {
        layer_norm(lanes, rows, &self.weight, &self.bias, epsilon);
    }
}
