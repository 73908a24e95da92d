//! Reads the answer of an embeddings call. Pure, apart from the client, because servers get this wrong in many ways
//! and each must be told apart: a vector given to the wrong message would never be noticed later.

use serde::Deserialize;
use serde_json::value::RawValue;

use guestbook_core::Vector;

#[derive(Deserialize)]
struct EmbeddingResponse<'a> {
    #[serde(borrow)]
    data: Vec<EmbeddingItem<'a>>,
}

#[derive(Deserialize)]
struct EmbeddingItem<'a> {
    /// Which input this answers, from 0.
    index: usize,
    /// Left unread at first: one bad vector must not spoil its neighbours.
    #[serde(borrow)]
    embedding: &'a RawValue,
}

/// The vectors for `count` inputs, in the order of the inputs; `Err` inside: that one input has no usable vector.
///
/// # Errors
/// The reason why the whole answer is of no use: it is not JSON of the expected form, or it does not hold exactly one
/// item for each input, so that no item can be trusted to be about the input it names.
pub(super) fn read(
    body: &[u8],
    count: usize,
    dimension: usize,
) -> Result<Vec<Result<Vector, String>>, String> {
    let reply: EmbeddingResponse<'_> = serde_json::from_slice(body)
        .map_err(|error| format!("the answer is not the expected JSON: {error}"))?;
    if reply.data.len() != count {
        let found = reply.data.len();
        return Err(format!("the answer has {found} items for {count} inputs"));
    }
    let mut places: Vec<Option<&RawValue>> = vec![None; count];
    for item in &reply.data {
        let index = item.index;
        let place = places
            .get_mut(index)
            .ok_or_else(|| format!("the answer names input {index} of {count}"))?;
        if place.replace(item.embedding).is_some() {
            return Err(format!("the answer names input {index} twice"));
        }
    }
    // As many items as places and none twice: every place is filled.
    let items = places.into_iter().flatten();
    Ok(items.map(|item| vector(item, dimension)).collect())
}

fn vector(item: &RawValue, dimension: usize) -> Result<Vector, String> {
    let components: Vec<f32> = serde_json::from_str(item.get())
        .map_err(|error| format!("its vector is not an array of numbers: {error}"))?;
    Vector::quantise(&components, dimension).map_err(|bad| bad.to_string())
}

/// What the server says went wrong: `error.message`, as OpenAI and most compatible servers send it.
///
/// Only that field: other parts of such answers repeat the request, and messages do not belong into logs.
pub(super) fn complaint(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorResponse {
        error: ErrorDetail,
    }
    #[derive(Deserialize)]
    struct ErrorDetail {
        message: String,
    }
    let complaint: ErrorResponse = serde_json::from_slice(body).ok()?;
    Some(complaint.error.message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;

    fn reason(body: &str) -> String {
        read(body.as_bytes(), 2, 2).unwrap_err()
    }

    #[test]
    fn items_are_put_in_the_order_of_the_inputs() {
        let body = r#"{"object":"list","data":[{"index":1,"embedding":[0,1]},{"index":0,"embedding":[1,0]}]}"#;
        let vectors = read(body.as_bytes(), 2, 2).unwrap();
        assert_eq!(vectors[0].as_ref().unwrap().components(), [127, 0]);
        assert_eq!(vectors[1].as_ref().unwrap().components(), [0, 127]);
    }

    #[test]
    fn one_bad_vector_leaves_its_neighbour_alone() {
        for (bad, why) in [
            ("[]", "empty"),
            ("[1]", "1 dimensions, expected 2"),
            ("[0,0]", "zero"),
            ("[1,1e39]", "component 1"),
            ("[1,1e999]", "out of range"),
            ("[1,null]", "array of numbers"),
            ("\"AACAPw==\"", "array of numbers"),
        ] {
            let body = format!(
                r#"{{"data":[{{"index":0,"embedding":{bad}}},{{"index":1,"embedding":[1,0]}}]}}"#
            );
            let vectors = read(body.as_bytes(), 2, 2).unwrap();
            let error = vectors[0].as_ref().unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
            assert!(vectors[1].is_ok());
        }
    }

    #[test]
    fn an_answer_whose_items_cannot_be_placed_is_refused() {
        let one = r#"{"index":0,"embedding":[1,0]}"#;
        let two = r#"{"index":2,"embedding":[1,0]}"#;
        let nameless = r#"{"embedding":[1,0]}"#;
        let body = |items: &str| format!(r#"{{"data":[{items}]}}"#);
        assert!(reason(&body(one)).contains("1 items for 2 inputs"));
        assert!(reason(&body(&format!("{one},{one}"))).contains("input 0 twice"));
        assert!(reason(&body(&format!("{one},{two}"))).contains("input 2 of 2"));
        assert!(reason(&body(&format!("{one},{nameless}"))).contains("`index`"));
        assert!(reason("<html>").contains("not the expected JSON"));
        assert!(reason(&body(&one.replace("[1,0]", "[NaN,0]"))).contains("JSON"));
    }

    #[test]
    fn a_complaint_is_only_its_message() {
        let body = br#"{"error":{"message":"too long","param":"secret text"}}"#;
        assert_eq!(complaint(body).as_deref(), Some("too long"));
        assert_eq!(complaint(br#"{"detail":[{"input":"secret text"}]}"#), None);
        assert_eq!(complaint(b"oops"), None);
    }
}
