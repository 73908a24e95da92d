//! An embedder that answers at once: the angle of the vector tells the length of the text.

use async_trait::async_trait;
use guestbook::core::{ModelId, Vector};
use guestbook::embed::{EmbedError, Embedder, InlineEmbedder};

pub const DIMENSION: usize = 3;

#[derive(Debug)]
pub struct Inline(ModelId);

impl Inline {
    pub fn new() -> Self {
        Self(ModelId::new("inline", DIMENSION, &[7; 32]))
    }
}

#[async_trait]
impl Embedder for Inline {
    fn model(&self) -> &ModelId {
        &self.0
    }
    fn dimension(&self) -> usize {
        DIMENSION
    }
    fn inline(&self) -> Option<&dyn InlineEmbedder> {
        Some(self)
    }
    async fn embed(&self, texts: &[&str]) -> Vec<Result<Option<Vector>, EmbedError>> {
        texts.iter().map(|text| self.embed_now(text)).collect()
    }

    async fn embed_next(&self, text: &str) -> Result<Option<Vector>, EmbedError> {
        self.embed_now(text)
    }
}

impl InlineEmbedder for Inline {
    fn embed_now(&self, text: &str) -> Result<Option<Vector>, EmbedError> {
        let vector = Vector::quantise(&[1.0, text.len() as f32, 0.0], DIMENSION);
        Ok(Some(vector.expect("three finite numbers")))
    }
}
