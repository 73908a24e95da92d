//! From a folder to a model: what is in the three files, checked against each other.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::SharedModel;
use super::encoder::{Encoder, Layer, Linear, Norm};
use super::tensors::Tensors;
use guestbook_embed::wordpiece::WordPiece;

/// The largest size in config.json that is believed: products of two stay far from overflowing.
const LARGEST: usize = 65_536;
/// The most layers.
const LAYERS: usize = 64;

/// A folder holds no model that can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}: {detail}; the folder must hold model.safetensors, vocab.txt and config.json of all-MiniLM-L6-v2, unchanged",
    file.display()
)]
pub struct BadModel {
    /// Which file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub detail: String,
}

/// The part of config.json that matters.
#[derive(Deserialize)]
struct ModelConfig {
    model_type: String,
    hidden_act: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_attention_heads: usize,
    num_hidden_layers: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    vocab_size: usize,
    layer_norm_eps: f32,
}

/// Reads a folder; the model and the SHA-256 of model.safetensors.
pub(super) fn read(folder: &Path) -> Result<(SharedModel, [u8; 32]), BadModel> {
    let at = |name: &str| folder.join(name);
    let bad = |name: &str, detail: String| BadModel {
        file: at(name),
        detail,
    };
    let text = |name: &str| {
        let read = fs::read_to_string(at(name));
        read.map_err(|cause| bad(name, format!("it cannot be read: {cause}")))
    };
    let config: ModelConfig = serde_json::from_str(&text("config.json")?).map_err(|cause| {
        bad(
            "config.json",
            format!("it does not describe a model: {cause}"),
        )
    })?;
    check(&config).map_err(|detail| bad("config.json", detail))?;
    let wordpiece =
        WordPiece::new(text("vocab.txt")?).map_err(|cause| bad("vocab.txt", cause.to_string()))?;
    let pieces = wordpiece.vocabulary_size();
    if pieces != config.vocab_size {
        let detail = format!(
            "it has {pieces} pieces, and config.json says {}",
            config.vocab_size
        );
        return Err(bad("vocab.txt", detail));
    }
    let id = |piece: &str| {
        let id = wordpiece.vocabulary().id(piece);
        id.ok_or_else(|| bad("vocab.txt", format!("it has no {piece}")))
    };
    let (begin, end) = (id("[CLS]")?, id("[SEP]")?);
    let name = "model.safetensors";
    let file =
        File::open(at(name)).map_err(|cause| bad(name, format!("it cannot be opened: {cause}")))?;
    let (mut tensors, digest) = Tensors::open(file).map_err(|detail| bad(name, detail))?;
    let encoder = encoder(&mut tensors, &config).map_err(|detail| bad(name, detail))?;
    let model = SharedModel {
        wordpiece,
        encoder,
        begin,
        end,
    };
    Ok((model, digest))
}

/// Sizes that can be computed with, of the kind of model that is computed here.
fn check(config: &ModelConfig) -> Result<(), String> {
    for (name, found, known) in [
        ("model_type", &config.model_type, "bert"),
        ("hidden_act", &config.hidden_act, "gelu"),
    ] {
        if found != known {
            return Err(format!("{name} is {found:.30?}; only {known:?} is known"));
        }
    }
    for (name, size, least, most) in [
        ("hidden_size", config.hidden_size, 1, LARGEST),
        ("intermediate_size", config.intermediate_size, 1, LARGEST),
        (
            "num_attention_heads",
            config.num_attention_heads,
            1,
            LARGEST,
        ),
        ("num_hidden_layers", config.num_hidden_layers, 1, LAYERS),
        (
            "max_position_embeddings",
            config.max_position_embeddings,
            3,
            LARGEST,
        ),
        ("type_vocab_size", config.type_vocab_size, 1, LARGEST),
        ("vocab_size", config.vocab_size, 3, 16 * LARGEST),
    ] {
        if !(least..=most).contains(&size) {
            return Err(format!("{name} is {size}, outside {least} to {most}"));
        }
    }
    if !config
        .hidden_size
        .is_multiple_of(config.num_attention_heads)
    {
        return Err("hidden_size is no multiple of num_attention_heads".to_owned());
    }
    Ok(())
}

fn encoder(tensors: &mut Tensors, config: &ModelConfig) -> Result<Encoder, String> {
    let hidden = config.hidden_size;
    let named = |what: &str| format!("embeddings.{what}");
    let words = tensors.matrix(&named("word_embeddings.weight"), config.vocab_size, hidden)?;
    let places = named("position_embeddings.weight");
    let places = tensors.matrix(&places, config.max_position_embeddings, hidden)?;
    let kinds = [config.type_vocab_size, hidden];
    let kind = tensors.first_row(&named("token_type_embeddings.weight"), &kinds)?;
    let norm = norm(tensors, &named("LayerNorm"), hidden)?;
    let layers = (0..config.num_hidden_layers).map(|index| layer(tensors, config, index));
    Ok(Encoder {
        layers: layers.collect::<Result<_, _>>()?,
        words,
        places,
        kind,
        norm,
        heads: config.num_attention_heads,
        epsilon: config.layer_norm_eps,
    })
}

fn layer(tensors: &mut Tensors, config: &ModelConfig, index: usize) -> Result<Layer, String> {
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let mut part = |what: &str, rows, columns| {
        linear(
            tensors,
            &format!("encoder.layer.{index}.{what}"),
            rows,
            columns,
        )
    };
    let query = part("attention.self.query", hidden, hidden)?;
    let key = part("attention.self.key", hidden, hidden)?;
    let value = part("attention.self.value", hidden, hidden)?;
    let joined = part("attention.output.dense", hidden, hidden)?;
    let widened = part("intermediate.dense", wide, hidden)?;
    let narrow = part("output.dense", hidden, wide)?;
    let named = |what: &str| format!("encoder.layer.{index}.{what}.LayerNorm");
    Ok(Layer {
        query,
        key,
        value,
        joined,
        attention_norm: norm(tensors, &named("attention.output"), hidden)?,
        wide: widened,
        narrow,
        norm: norm(tensors, &named("output"), hidden)?,
    })
}

fn linear(
    tensors: &mut Tensors,
    name: &str,
    rows: usize,
    columns: usize,
) -> Result<Linear, String> {
    Ok(Linear {
        matrix: tensors.matrix(&format!("{name}.weight"), rows, columns)?,
        bias: tensors.numbers(&format!("{name}.bias"), rows)?,
    })
}

fn norm(tensors: &mut Tensors, name: &str, size: usize) -> Result<Norm, String> {
    Ok(Norm {
        weight: tensors.numbers(&format!("{name}.weight"), size)?,
        bias: tensors.numbers(&format!("{name}.bias"), size)?,
    })
}
