//! placeholder until the embed module arrives
use std::sync::Arc;
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub struct ModelId {
    name: Arc<str>,
    dimension: usize,
}
impl ModelId {
    pub fn new(name: &str, dimension: usize, digest: [u8; 32]) -> Self {
        let _ = digest;
        Self {
            name: name.into(),
            dimension,
        }
    }
    pub fn as_str(&self) -> &str {
        &self.name
    }
    pub fn dimension(&self) -> usize {
        self.dimension
    }
}
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vector(Vec<u8>);
impl Vector {
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.clone()
    }
    pub fn from_bytes(b: &[u8]) -> Self {
        Self(b.to_vec())
    }
}
