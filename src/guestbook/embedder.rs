//! From a setting to an embedder: the only place that knows all of them.
//!
//! `static` (the default), `minilm:DIR`, `openai:URL` or `none`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use guestbook_embed::Embedder;
use guestbook_embed::endpoint::{BadUrl, Endpoint};
use guestbook_embed::openai::{BadOptions, OpenAi, OpenAiOptions};
use guestbook_embed::table::StaticTable;
use guestbook_minilm::{BadModel, MiniLm};

/// Which embedder to use, as written in the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EmbedderSpec {
    /// `static`: the built-in table. No service, English only.
    #[default]
    Static,
    /// `minilm:DIR`: the files of all-MiniLM-L6-v2, run on this machine's CPU. English only.
    MiniLm(PathBuf),
    /// `openai:URL`: an OpenAI-compatible server.
    OpenAi(Endpoint),
    /// `none`: messages get no vectors.
    None,
}

/// Why a text names no embedder. Never repeats what follows the first colon, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpec {
    /// What follows `openai:` is not the URL of a server.
    #[error("openai: wants a URL such as openai:https://api.openai.com/v1; {0}")]
    Url(#[from] BadUrl),
    /// No folder follows `minilm:`.
    #[error("minilm: wants the folder of the model, such as minilm:/models/all-MiniLM-L6-v2")]
    NoFolder,
    /// A URL alone.
    #[error("a URL alone is no embedder; write openai: before it, as in openai:https://host/v1")]
    BareUrl,
    /// `static` or `none`, with something after it.
    #[error("{0} takes nothing after it")]
    Superfluous(&'static str),
    /// Anything else: the part before the first colon, shortened.
    #[error("there is no embedder {0:?}; use static (built in), minilm:DIR, openai:URL or none")]
    Unknown(String),
}

/// Why an embedder cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// An option of `openai:` cannot be used.
    #[error(transparent)]
    OpenAi(#[from] BadOptions),
    /// The folder holds no model that can be run.
    #[error(transparent)]
    MiniLm(#[from] BadModel),
}

impl FromStr for EmbedderSpec {
    type Err = BadSpec;

    fn from_str(text: &str) -> Result<Self, BadSpec> {
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        match (name, rest) {
            ("static", None) => Ok(Self::Static),
            ("none", None) => Ok(Self::None),
            ("static", Some(_)) => Err(BadSpec::Superfluous("static")),
            ("none", Some(_)) => Err(BadSpec::Superfluous("none")),
            ("openai", url) => Ok(Self::OpenAi(url.unwrap_or_default().parse()?)),
            ("minilm", Some(folder)) if !folder.is_empty() => Ok(Self::MiniLm(folder.into())),
            ("minilm", _) => Err(BadSpec::NoFolder),
            ("http" | "https", Some(_)) => Err(BadSpec::BareUrl),
            _ => Err(BadSpec::Unknown(name.chars().take(20).collect())),
        }
    }
}

impl fmt::Display for EmbedderSpec {
    /// As it was written, but for the query of a URL, which may hold a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static => f.write_str("static"),
            Self::MiniLm(folder) => write!(f, "minilm:{}", folder.display()),
            Self::OpenAi(endpoint) => write!(f, "openai:{endpoint}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// Makes the embedder that `spec` names; `None` for `none`. The options matter to `openai:` only. Sends nothing;
/// reads the files of `minilm:`, which takes a part of a second.
///
/// # Errors
/// [`OpenError`] if an option cannot be used.
pub fn open(
    spec: &EmbedderSpec,
    options: OpenAiOptions,
) -> Result<Option<Arc<dyn Embedder>>, OpenError> {
    Ok(match spec {
        EmbedderSpec::Static => Some(Arc::new(StaticTable::new())),
        EmbedderSpec::MiniLm(folder) => Some(Arc::new(MiniLm::open(folder)?)),
        EmbedderSpec::OpenAi(endpoint) => Some(Arc::new(OpenAi::new(endpoint.clone(), options)?)),
        EmbedderSpec::None => None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;
    use guestbook_core::api_key::BadKey;

    #[test]
    fn the_embedders_are_named() {
        assert_eq!("static".parse(), Ok(EmbedderSpec::default()));
        assert_eq!("none".parse(), Ok(EmbedderSpec::None));
        let spec: EmbedderSpec = "minilm:/models/m:1".parse().unwrap();
        assert_eq!(spec, EmbedderSpec::MiniLm("/models/m:1".into()));
        assert_eq!(spec.to_string(), "minilm:/models/m:1");
        let spec: EmbedderSpec = "openai:http://localhost:11434/v1/?key=s3cret"
            .parse()
            .unwrap();
        assert_eq!(spec.to_string(), "openai:http://localhost:11434/v1");
        assert!(!format!("{spec:?}").contains("s3cret"));
    }

    #[test]
    fn other_names_are_refused_with_help() {
        for (text, help) in [
            ("minilm:", "minilm:/models/all-MiniLM-L6-v2"),
            ("minilm", "minilm:/models/all-MiniLM-L6-v2"),
            ("https://u:s3cret@h/v1", "write openai: before it"),
            ("openai", "openai:https://api.openai.com/v1"),
            ("openai:", "openai:https://api.openai.com/v1"),
            ("openai:https://u:s3cret@h/v1", "user name or password"),
            ("static:s3cret", "static takes nothing"),
            ("none:", "none takes nothing"),
            ("", "use static"),
            ("statik", "\"statik\""),
            ("Static", "use static"),
            ("voyage:s3cret", "\"voyage\""),
        ] {
            let error = text.parse::<EmbedderSpec>().unwrap_err().to_string();
            assert!(error.contains(help), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn options_that_cannot_work_are_refused_at_start() {
        let spec: EmbedderSpec = "openai:http://localhost/v1".parse().unwrap();
        let good = OpenAiOptions::default;
        let key = |key: &str| Some(key.into());
        #[rustfmt::skip]
        let cases = [
            (OpenAiOptions { model: " ".into(), ..good() }, BadOptions::NoModel),
            (OpenAiOptions { dimension: 0, ..good() }, BadOptions::NoDimension),
            (OpenAiOptions { timeout: Default::default(), ..good() }, BadOptions::NoTimeout),
            (OpenAiOptions { api_key: key(" "), ..good() }, BadOptions::BadKey(BadKey::Empty)),
            (OpenAiOptions { api_key: key("sk\n1"), ..good() }, BadOptions::BadKey(BadKey::Unsendable)),
        ];
        for (options, reason) in cases {
            assert_eq!(open(&spec, options).err(), Some(reason.into()));
        }
        let from_a_file = OpenAiOptions {
            api_key: key("sk-1\n"),
            ..good()
        };
        for options in [good(), from_a_file] {
            assert!(open(&spec, options).unwrap().is_some());
        }
    }

    #[test]
    fn each_spec_opens_what_it_says() {
        let options = OpenAiOptions::default;
        let opened = |spec: &str| open(&spec.parse().unwrap(), options()).unwrap();
        assert!(opened("none").is_none());
        let table = opened("static").unwrap();
        assert_eq!(table.model().as_str(), "static-256-i8:256:6355d7a0");
        assert!(table.inline().is_some());
        let remote = opened("openai:https://api.openai.com/v1/").unwrap();
        assert!(remote.inline().is_none());
        // sha256sum of "https://api.openai.com/v1\ntext-embedding-3-small"
        assert_eq!(
            remote.model().as_str(),
            "text-embedding-3-small:1536:59516607"
        );
    }
}
