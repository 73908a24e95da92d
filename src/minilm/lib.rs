//! all-MiniLM-L6-v2 from its ordinary files, run on this machine's CPU: finds much better than the built-in table.
//!
//! A message takes milliseconds, so it is never computed on the request path ([`Embedder::inline`] is `None`) and never
//! on a thread of the runtime: there are workers, as many as half the cores, and what somebody waits for goes first. A text of more than 256 pieces has the
//! vector of its first 256, as the reference has. English only.
//!
//! Imports `core`, `embed` and `kernel`. Begin with [`MiniLm`].

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

mod encoder;
mod files;
mod tensors;
mod workers;

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use guestbook_kernel::Lanes;

use self::encoder::{Encoder, Scratch};
pub use self::files::BadModel;
use self::workers::{Priority, Workers};
use guestbook_core::{ModelId, Vector};
use guestbook_embed::wordpiece::WordPiece;
use guestbook_embed::{EmbedError, Embedder, InlineEmbedder};

/// The model's name, the first part of its [`ModelId`]: with its way of rounding, because other rounding gives other vectors.
pub const NAME: &str = "minilm-q8";

/// Pieces of a text that count, `[CLS]` and `[SEP]` among them; the model was trained with no more.
const LONGEST: usize = 256;

/// The embedder: a handle of the workers.
pub struct MiniLm {
    model: ModelId,
    dimension: usize,
    workers: Workers,
}

/// What the workers share.
struct SharedModel {
    wordpiece: WordPiece,
    encoder: Encoder,
    begin: u32,
    end: u32,
}

impl MiniLm {
    /// Reads `config.json`, `vocab.txt` and `model.safetensors` of a folder and starts the workers.
    ///
    /// # Errors
    /// [`BadModel`]: which file, what is wrong with it, what to do.
    pub fn open(folder: &Path) -> Result<Self, BadModel> {
        let (model, digest) = files::read(folder)?;
        let dimension = model.encoder.dimension();
        Ok(Self {
            model: ModelId::new(NAME, dimension, &digest),
            dimension,
            workers: Workers::start(model),
        })
    }
}

impl SharedModel {
    /// The ids of a text between `[CLS]` and `[SEP]`; `None` if nothing in it is known.
    fn ids(&self, text: &str) -> Option<Vec<u32>> {
        let unknown = self.wordpiece.vocabulary().unknown();
        let room = LONGEST.min(self.encoder.positions()) - 1;
        let mut ids = vec![self.begin];
        self.wordpiece.tokenize(text, |id| {
            if ids.len() < room {
                ids.push(id);
            }
        });
        // All emoji are one [UNK] to the model: texts of nothing else would all be alike.
        let known = ids[1..].iter().any(|id| *id != unknown);
        ids.push(self.end);
        known.then_some(ids)
    }

    fn embed(
        &self,
        lanes: Lanes,
        text: &str,
        scratch: &mut Scratch,
    ) -> Result<Option<Vector>, EmbedError> {
        let Some(ids) = self.ids(text) else {
            return Ok(None);
        };
        let mean = self.encoder.mean(lanes, &ids, scratch);
        let bad = |bad| EmbedError::Permanent {
            cause: format!("the model minilm gave no vector: {bad}"),
        };
        Vector::quantise(mean, mean.len()).map(Some).map_err(bad)
    }
}

impl fmt::Debug for MiniLm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MiniLm({})", self.model)
    }
}

#[async_trait]
impl Embedder for MiniLm {
    fn model(&self) -> &ModelId {
        &self.model
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn inline(&self) -> Option<&dyn InlineEmbedder> {
        None
    }

    fn same_above(&self) -> Option<f32> {
        Some(0.85)
    }

    async fn embed(&self, texts: &[&str]) -> Vec<Result<Option<Vector>, EmbedError>> {
        let ask = |text: &&str| self.workers.ask(Priority::Waiting, text);
        let asked: Vec<_> = texts.iter().map(ask).collect();
        // No more at a time than there are workers: one message must not wait behind a page of others.
        let answers = stream::iter(asked).buffered(self.workers.count());
        answers.collect().await
    }

    async fn embed_next(&self, text: &str) -> Result<Option<Vector>, EmbedError> {
        self.workers.ask(Priority::Next, text).await
    }
}
