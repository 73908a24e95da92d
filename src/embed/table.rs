//! The built-in model `static-256-i8`: a table with one row per word piece; a text is the mean of its rows.
//!
//! Here so that search by meaning works at once, offline, with no service and no key, at about a microsecond a
//! message: fast enough for the request path. English only. The two files are compiled in;
//! assets/embedding/README.md says where they come from and distill.py how they were made.
//!
//! The sums are f32 in a fixed order with no fused multiplication, so all machines give the same bytes.

use std::fmt;

use async_trait::async_trait;

use super::wordpiece::WordPiece;
use super::{EmbedError, Embedder, InlineEmbedder};
use guestbook_core::{BadVector, ModelId, Vector};

/// The model's name, the first part of its [`ModelId`].
pub const NAME: &str = "static-256-i8";

/// Components of every vector.
pub const DIMENSION: usize = 256;

/// SHA-256 of static.sem. Pinned, because computing it at start would read all 7.7 MB; a test compares.
pub const DIGEST: [u8; 32] = [
    0x63, 0x55, 0xd7, 0xa0, 0xd9, 0xc8, 0xd2, 0x7a, 0x11, 0x00, 0x53, 0x5f, 0x0b, 0xc9, 0xc7, 0x2c,
    0x60, 0x62, 0x37, 0x92, 0xf6, 0x43, 0xd1, 0x68, 0x8a, 0xcf, 0x47, 0xc3, 0xe7, 0xe8, 0x8f, 0x83,
];

static ROWS: &[u8] = include_bytes!("../../assets/embedding/static.sem");
static VOCABULARY: &str = include_str!("../../assets/embedding/vocab.txt");

/// The built-in embedder.
pub struct StaticTable {
    model: ModelId,
    wordpiece: WordPiece,
    rows: TableRows,
}

impl StaticTable {
    /// Makes the embedder from the files in the program. About a millisecond: make one and keep it.
    pub fn new() -> Self {
        let rows = TableRows::parse(ROWS).expect("static.sem is compiled in and read by the tests");
        let wordpiece =
            WordPiece::new(VOCABULARY).expect("vocab.txt is compiled in and read by the tests");
        Self {
            model: ModelId::new(NAME, DIMENSION, &DIGEST),
            wordpiece,
            rows,
        }
    }

    /// How many pieces the vocabulary has.
    pub fn vocabulary_size(&self) -> usize {
        self.wordpiece.vocabulary_size()
    }

    /// The ids of the word pieces of `text`, in order, unknown words included: what the mean is taken over.
    pub fn pieces(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.wordpiece.tokenize(text, |id| ids.push(id));
        ids
    }
}

impl Default for StaticTable {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StaticTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticTable({})", self.model)
    }
}

impl InlineEmbedder for StaticTable {
    fn embed_now(&self, text: &str) -> Result<Option<Vector>, EmbedError> {
        let mut sum = [0.0; DIMENSION];
        self.wordpiece.tokenize(text, |id| {
            if let Some(row) = self.rows.get(id) {
                row.add_to(&mut sum);
            }
        });
        // The mean has the direction of the sum, and quantising scales it anyway: no division.
        match Vector::quantise(&sum, DIMENSION) {
            Ok(vector) => Ok(Some(vector)),
            // No known piece, or pieces that cancel out: either way there is no meaning to point at.
            Err(BadVector::Zero) => Ok(None),
            Err(bad) => Err(EmbedError::Permanent {
                cause: format!("the built-in table gave no vector: {bad}"),
            }),
        }
    }
}

#[async_trait]
impl Embedder for StaticTable {
    fn model(&self) -> &ModelId {
        &self.model
    }

    fn dimension(&self) -> usize {
        DIMENSION
    }

    fn inline(&self) -> Option<&dyn InlineEmbedder> {
        Some(self)
    }

    fn same_above(&self) -> Option<f32> {
        Some(0.80)
    }

    async fn embed(&self, texts: &[&str]) -> Vec<Result<Option<Vector>, EmbedError>> {
        texts.iter().map(|text| self.embed_now(text)).collect()
    }

    async fn embed_next(&self, text: &str) -> Result<Option<Vector>, EmbedError> {
        self.embed_now(text)
    }
}

/// static.sem, read in place. Little-endian: `"SEM1"`, dimension u32, first id u32, rows u32, one f32 scale a row, then
/// the rows, one i8 a component.
struct TableRows {
    /// Ids below this (the special and unused pieces, `[UNK]` among them) have no row.
    first_id: u32,
    scales: &'static [[u8; 4]],
    cells: &'static [[u8; DIMENSION]],
}

/// One row: component = scale × cell.
struct TableRow {
    scale: f32,
    cells: &'static [u8; DIMENSION],
}

/// Why bytes are not a table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum BadTable {
    #[error("the table does not begin with SEM1 and three numbers")]
    Header,
    #[error("the table has {0} dimensions")]
    Dimension(u32),
    #[error("the table has not the size that its header says")]
    Size,
}

impl TableRows {
    fn parse(bytes: &'static [u8]) -> Result<Self, BadTable> {
        let (header, body) = bytes.split_first_chunk::<16>().ok_or(BadTable::Header)?;
        let (words, _) = header.as_chunks::<4>();
        let [magic, dimension, first_id, rows] = words else {
            return Err(BadTable::Header);
        };
        if magic != b"SEM1" {
            return Err(BadTable::Header);
        }
        let dimension = u32::from_le_bytes(*dimension);
        if usize::try_from(dimension) != Ok(DIMENSION) {
            return Err(BadTable::Dimension(dimension));
        }
        let rows = u32::from_le_bytes(*rows) as usize;
        let scales = rows.checked_mul(4).ok_or(BadTable::Size)?;
        let (scales, cells) = body.split_at_checked(scales).ok_or(BadTable::Size)?;
        let (cells, rest) = cells.as_chunks::<DIMENSION>();
        if cells.len() != rows || !rest.is_empty() {
            return Err(BadTable::Size);
        }
        Ok(Self {
            first_id: u32::from_le_bytes(*first_id),
            scales: scales.as_chunks().0,
            cells,
        })
    }

    /// The row of a piece; `None` if the piece has none.
    fn get(&self, id: u32) -> Option<TableRow> {
        let index = id.checked_sub(self.first_id)? as usize;
        Some(TableRow {
            scale: f32::from_le_bytes(*self.scales.get(index)?),
            cells: self.cells.get(index)?,
        })
    }
}

impl TableRow {
    /// Multiplies, rounds, adds, rounds: rustc never fuses the two, so the result is the same with and without FMA.
    fn add_to(&self, sum: &mut [f32; DIMENSION]) {
        for (total, cell) in sum.iter_mut().zip(self.cells) {
            *total += self.scale * f32::from(cell.cast_signed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(magic: &[u8], numbers: [u32; 3], body: usize) -> Result<TableRows, BadTable> {
        let mut bytes = magic.to_vec();
        bytes.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(std::iter::repeat_n(0, body));
        TableRows::parse(bytes.leak())
    }

    #[test]
    fn a_table_is_read_only_if_header_and_size_agree() {
        assert!(table(b"SEM1", [256, 999, 2], 2 * 260).is_ok());
        assert_eq!(TableRows::parse(b"SEM1").err(), Some(BadTable::Header));
        for (magic, numbers, body, reason) in [
            (b"SEM2", [256, 0, 1], 260, BadTable::Header),
            (b"SEM1", [128, 0, 1], 132, BadTable::Dimension(128)),
            (b"SEM1", [256, 0, 1], 259, BadTable::Size),
            (b"SEM1", [256, 0, 1], 261, BadTable::Size),
            (b"SEM1", [256, 0, u32::MAX], 260, BadTable::Size),
        ] {
            assert_eq!(table(magic, numbers, body).err(), Some(reason));
        }
    }

    #[test]
    fn every_piece_has_a_row_except_the_special_ones() {
        let table = StaticTable::new();
        let ids = 0..table.vocabulary_size() as u32 + 1;
        let with_row: Vec<_> = ids.filter(|&id| table.rows.get(id).is_some()).collect();
        assert_eq!(with_row, (999..30_522).collect::<Vec<_>>());
    }
}
