//! The laws of an embedder's answers, for inputs that nobody thought of; see fuzz/.

use super::reply;
use guestbook_core::Vector;
use serde_json::Value;

const DIMENSION: usize = 2;

/// Reads an answer as one to one, two and three texts, and as a complaint.
pub fn replies(body: &[u8]) {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    for count in 1..=3 {
        let Ok(vectors) = reply::read(body, count, DIMENSION) else {
            continue;
        };
        assert_eq!(vectors.len(), count);
        for (index, vector) in vectors.iter().enumerate() {
            if let Ok(vector) = vector {
                assert_is_unit(vector);
                if let Some(json) = &json {
                    assert_is_the_vector_of(index, vector, json);
                }
            }
        }
    }
    // As below: an array in place of an object is read, too.
    if let (Some(complaint), Some(json)) = (reply::complaint(body), json)
        && json["error"].is_object()
    {
        assert_eq!(json["error"]["message"], complaint);
    }
}

fn assert_is_unit(vector: &Vector) {
    assert_eq!(vector.dimension(), DIMENSION);
    let squares: f64 = vector
        .components()
        .iter()
        .map(|c| f64::from(*c).powi(2))
        .sum();
    assert!((squares.sqrt() - 127.0).abs() < 1.0, "{vector:?}");
    assert_eq!(Vector::from_bytes(&vector.to_bytes()).as_ref(), Ok(vector));
}

/// A vector given to the wrong text would never be noticed later.
fn assert_is_the_vector_of(index: usize, vector: &Vector, json: &Value) {
    // Arrays in place of objects are read, too: their elements are the fields in order.
    let Some(items) = json["data"]
        .as_array()
        .filter(|items| items.iter().all(Value::is_object))
    else {
        return;
    };
    let named: Vec<_> = items.iter().filter(|item| item["index"] == index).collect();
    assert_eq!(named.len(), 1, "{json}");
    let numbers = named[0]["embedding"].as_array().expect("an array");
    let numbers: Vec<f32> = numbers
        .iter()
        .map(|number| number.as_f64().expect("a number") as f32)
        .collect();
    let expected = Vector::quantise(&numbers, DIMENSION);
    assert_eq!(expected.as_ref(), Ok(vector), "{json}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_breaks_no_law_of_replies() {
        guestbook_fuzz_corpus::replay("replies", super::replies);
    }
}
