//! A prompt that was answered before: whose it is, what it was asked of, and when another one asks the same.

mod guard;
mod lexicon;
mod signs;
mod words;

pub use guard::{MOST_WORDS, same_question};

use super::{Digest, GuestId, InvalidField, content_hash};
use sha2::{Digest as _, Sha256};
use std::fmt;
use uuid::Uuid;

const NAME_BYTES: usize = 128;
const GUEST: &str = "guest:";
const TENANT: &str = "tenant:";

/// Who may be given an answer: nobody beyond a scope ever sees what is cached in it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PromptScope {
    /// `guest:ID`: one guest alone; it goes when the guest is erased.
    Guest(GuestId),
    /// `tenant:NAME`: everyone whom the caller puts into it. 1-128 bytes without control characters.
    Tenant(String),
}

impl PromptScope {
    /// Reads `guest:ID` or `tenant:NAME`.
    ///
    /// # Errors
    /// [`InvalidField`] `scope`.
    pub fn parse(text: &str) -> Result<Self, InvalidField> {
        if let Some(id) = text.strip_prefix(GUEST) {
            let parsed = GuestId::parse(id).map(Self::Guest);
            return parsed.map_err(|fault| fault.within("scope"));
        }
        let name = text.strip_prefix(TENANT).ok_or_else(|| {
            let rule =
                "must be guest:ID (that guest alone) or tenant:NAME (everyone you put into it)";
            InvalidField::new("scope", rule)
        })?;
        let tenant = checked_name("scope", name).map_err(|fault| InvalidField {
            rule: format!("the name after tenant: {}", fault.rule),
            ..fault
        })?;
        Ok(Self::Tenant(tenant.to_owned()))
    }

    /// Whether `text` is what it is stored as.
    pub fn is_stored_as(&self, text: &str) -> bool {
        match self {
            Self::Guest(guest) => text.strip_prefix(GUEST) == Some(guest.as_str()),
            Self::Tenant(name) => text.strip_prefix(TENANT) == Some(name),
        }
    }

    /// The guest whose scope it is, if it is one's.
    pub fn guest(&self) -> Option<&GuestId> {
        match self {
            Self::Guest(guest) => Some(guest),
            Self::Tenant(_) => None,
        }
    }
}

/// As it is stored and sent: `guest:ID` or `tenant:NAME`.
impl fmt::Display for PromptScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest(guest) => write!(f, "{GUEST}{guest}"),
            Self::Tenant(name) => write!(f, "{TENANT}{name}"),
        }
    }
}

impl From<&GuestId> for PromptScope {
    fn from(guest: &GuestId) -> Self {
        Self::Guest(guest.clone())
    }
}

fn checked_name<'a>(field: &str, text: &'a str) -> Result<&'a str, InvalidField> {
    let is_blank = text.trim().is_empty();
    if is_blank || text.len() > NAME_BYTES || text.chars().any(char::is_control) {
        let rule = "must be 1 to 128 bytes, not blank, without control characters";
        return Err(InvalidField::new(field, rule));
    }
    Ok(text)
}

/// What a prompt is asked of: within one of these, equal prompts have equal answers.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptSetting {
    /// Who may see the answer.
    pub scope: PromptScope,
    /// The model that answers, as the caller names it.
    pub model: String,
    /// Its temperature; `None` is the model's own, and no number is equal to it.
    pub temperature: Option<f64>,
    /// Tokens of its answer at most; `None` is the model's own.
    pub max_tokens: Option<u32>,
    /// SHA-256 of the model's other input: system prompt and history.
    pub context_hash: Digest,
}

impl PromptSetting {
    /// Checks a model's name.
    ///
    /// # Errors
    /// [`InvalidField`] `model`.
    pub fn model(text: &str) -> Result<String, InvalidField> {
        checked_name("model", text).map(str::to_owned)
    }

    /// Checks a temperature.
    ///
    /// # Errors
    /// [`InvalidField`] `temperature`.
    pub fn temperature(number: f64) -> Result<f64, InvalidField> {
        match (0.0..=100.0).contains(&number) {
            true => Ok(number + 0.0), // -0 becomes 0
            false => Err(InvalidField::new(
                "temperature",
                "must be a number from 0 to 100",
            )),
        }
    }
}

/// Where an answer is found: setting and prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptKey {
    /// What it is asked of.
    pub setting: PromptSetting,
    /// `prompt_hash`: SHA-256 of the prompt with its white space normalised, case kept.
    pub prompt_hash: Digest,
}

impl PromptKey {
    /// The key of a prompt.
    pub fn new(setting: PromptSetting, prompt: &str) -> Self {
        Self {
            setting,
            prompt_hash: content_hash(&normalised(prompt)),
        }
    }

    /// The row's id: a UUID made of the whole key, so that one index finds it and two nodes that store the same key meet.
    pub fn id(&self) -> Uuid {
        let setting = &self.setting;
        let mut digest = Sha256::new();
        // Texts with their lengths: nothing can be moved from one field to the next.
        for text in [&setting.scope.to_string(), &setting.model] {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        }
        let temperature = setting.temperature.map(f64::to_bits);
        let max_tokens = setting.max_tokens.map(u64::from);
        for number in [temperature, max_tokens] {
            digest.update([u8::from(number.is_some())]);
            digest.update(number.unwrap_or_default().to_be_bytes());
        }
        digest.update(setting.context_hash.0);
        digest.update(self.prompt_hash.0);
        let mut half = [0; 16];
        half.copy_from_slice(&digest.finalize()[..16]);
        uuid::Builder::from_custom_bytes(half).into_uuid()
    }
}

/// A text with every run of white space made one blank, and none at its ends. Case is kept.
pub fn normalised(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        normal.push_str(word);
    }
    normal
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;

    fn setting() -> PromptSetting {
        PromptSetting {
            scope: PromptScope::parse("tenant:acme").unwrap(),
            model: "gpt".into(),
            temperature: Some(0.2),
            max_tokens: Some(100),
            context_hash: content_hash(""),
        }
    }

    #[test]
    fn scopes_come_back_as_they_were_and_others_are_refused() {
        for text in ["guest:g1", "tenant:Acme & Söhne", "tenant:guest:g1"] {
            let scope = PromptScope::parse(text).unwrap();
            assert_eq!(scope.to_string(), text);
            assert!(scope.is_stored_as(text));
            for other in ["guest:g", "guest:g11", "tenant:g1", "g1", ""] {
                assert!(!scope.is_stored_as(other), "{text} {other}");
            }
        }
        for bad in [
            "",
            "g1",
            "guest:",
            "guest:a b",
            "tenant:",
            "tenant: ",
            "tenant:a\0",
            "Tenant:a",
        ] {
            let field = PromptScope::parse(bad).unwrap_err().field;
            assert!(field.starts_with("scope"), "{bad:?} {field}");
        }
    }

    #[test]
    fn white_space_makes_no_other_prompt_and_case_does() {
        let id = |prompt| PromptKey::new(setting(), prompt).id();
        assert_eq!(id("Is  it\n so? "), id("Is it so?"));
        assert_ne!(id("is it so?"), id("Is it so?"));
        assert_ne!(id("Isit so?"), id("Is it so?"));
    }

    #[test]
    fn every_part_of_a_key_makes_another_id() {
        let change: [fn(&mut PromptSetting); 8] = [
            |it| it.scope = PromptScope::Tenant("other".into()),
            |it| it.scope = PromptScope::parse("guest:acme").unwrap(),
            |it| it.model = "gpt2".into(),
            |it| it.temperature = Some(0.3),
            |it| it.temperature = None,
            |it| it.max_tokens = Some(0),
            |it| it.max_tokens = None,
            |it| it.context_hash = content_hash(" "),
        ];
        let mut ids = vec![PromptKey::new(setting(), "a").id()];
        for change in change {
            let mut other = setting();
            change(&mut other);
            ids.push(PromptKey::new(other, "a").id());
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn temperatures_are_numbers_that_a_model_can_have() {
        assert_eq!(PromptSetting::temperature(-0.0).unwrap().to_bits(), 0);
        for bad in [-0.1, f64::NAN, f64::INFINITY, 100.5] {
            assert!(PromptSetting::temperature(bad).is_err(), "{bad}");
        }
    }
}
