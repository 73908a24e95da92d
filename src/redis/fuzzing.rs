//! Fuzz targets for Redis values and URLs; see fuzz/.

use super::records;
use super::url::CertificateTrust;
use crate::RedisUrl;
use ::redis::Value;
use serde_json::Value as Json;

/// Reads bytes as an item of a list, as the fields of a head and as its key.
pub fn redis(data: &[u8]) {
    item(data);
    head(data);
    if let Some(guest) = std::str::from_utf8(data)
        .ok()
        .and_then(records::guest_of_head)
    {
        let [list, head] = records::keys(&guest);
        assert_eq!(head.as_bytes(), data);
        assert_eq!(list, format!("guest:{guest}"));
    }
}

/// What is read is written so that it is read as the same, and another reader of the JSON sees the same.
fn item(data: &[u8]) {
    let Ok(item) = records::decode_item(data) else {
        return;
    };
    let written = records::encode_item(&item);
    assert_eq!(records::decode_item(&written).as_ref(), Ok(&item));
    if let (Ok(ours), Ok(theirs)) = (
        serde_json::from_slice::<Json>(&written),
        serde_json::from_slice::<Json>(data),
    ) {
        for field in ["role", "content"] {
            assert_eq!(ours[field], theirs[field]);
        }
    }
}

/// Fields are lines here.
fn head(data: &[u8]) {
    let fields: Vec<_> = data.split(|byte| *byte == b'\n').collect();
    let fields: Vec<_> = fields
        .into_iter()
        .map(|field| Value::BulkString(field.to_vec()))
        .collect();
    let Some(head) = records::decode_head(&fields) else {
        return;
    };
    assert!(head.from <= head.next);
    let written = [
        head.origin.epoch.to_string(),
        head.origin.conversation.to_string(),
        head.from.to_string(),
        head.next.to_string(),
        head.expires_at.ms().to_string(),
    ];
    let written = written.map(|text| Value::BulkString(text.into_bytes()));
    assert_eq!(records::decode_head(&written), Some(head));
}

/// What a URL says is what it is shown to say, but for the password.
pub fn url(text: &str) {
    let Some((scheme, rest)) = text.split_once("://") else {
        return;
    };
    let Some(Ok(url)) = RedisUrl::parse(scheme, rest) else {
        return;
    };
    if let Some(path) = &url.socket {
        // A path is shown as it is, and may hold what a URL would have to escape.
        assert!(path.is_absolute() && url.hosts.is_empty());
        return;
    }
    assert!(!url.hosts.is_empty());
    assert!(
        url.hosts
            .iter()
            .all(|(name, port)| !name.is_empty() && *port != 0)
    );
    assert!(url.is_cluster || url.hosts.len() == 1);
    assert_eq!(
        url.trust == CertificateTrust::Plain,
        !scheme.starts_with("rediss")
    );
    // The name of a file may hold what a URL would have to escape.
    if matches!(url.trust, CertificateTrust::File(_)) {
        return;
    }
    let shown = url.to_string();
    let (scheme, rest) = shown.split_once("://").expect("a URL");
    let again = RedisUrl::parse(scheme, rest)
        .expect("a scheme of ours")
        .expect("a URL of ours");
    assert_eq!(again.to_string(), shown);
    assert_eq!((again.hosts, again.db), (url.hosts, url.db));
    assert_eq!((again.trust, again.is_cluster), (url.trust, url.is_cluster));
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_breaks_no_law_of_redis() {
        guestbook_fuzz_corpus::replay("redis", super::redis);
    }

    #[test]
    fn the_corpus_breaks_no_law_of_urls_of_redis() {
        guestbook_fuzz_corpus::replay("urls", |data| super::url(&String::from_utf8_lossy(data)));
    }
}
