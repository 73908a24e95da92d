//! model.safetensors: a JSON header that says where each tensor is, then the numbers.
//!
//! Nothing the file says is believed: places must lie in the file and have the size of their shape. Tensors are read one
//! at a time, so that the 91 MB are never in memory at once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use guestbook_kernel::Matrix;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Bytes of the longest header that is read; that of the model has 12 kB.
const LONGEST_HEADER: u64 = 1 << 20;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// What the header says of a tensor.
#[derive(Deserialize)]
struct TensorLocation {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The open file.
pub(super) struct Tensors {
    file: File,
    places: HashMap<String, serde_json::Value>,
    /// Where the numbers begin.
    begin: u64,
    length: u64,
}

impl Tensors {
    /// Reads the header, and all of the file once for its SHA-256.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn open(mut file: File) -> Result<(Self, [u8; 32]), String> {
        let failed = |cause: std::io::Error| format!("it cannot be read: {cause}");
        let length = file.metadata().map_err(failed)?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size)
            .map_err(|_| "it has less than 8 bytes".to_owned())?;
        let size = u64::from_le_bytes(size);
        if size > LONGEST_HEADER || size > length.saturating_sub(8) {
            return Err(format!(
                "its header is said to have {size} bytes, of {length} in the file: it is cut off, or no safetensors file"
            ));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(failed)?;
        let places = serde_json::from_slice(&header).map_err(|cause| {
            format!("its header is not the JSON of a safetensors file: {cause}")
        })?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut digest = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk).map_err(failed)? {
                0 => break,
                read => digest.update(&chunk[..read]),
            }
        }
        let begin = 8 + size;
        let made = Self {
            file,
            places,
            begin,
            length,
        };
        Ok((made, digest.finalize().into()))
    }

    /// A matrix of this shape, rounded to int8 rows.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Matrix, String> {
        self.locate(name, &[rows, columns])?; // before the room is taken: the file has that many numbers
        let mut matrix = Matrix::with_capacity(rows, columns);
        self.read(name, &[rows, columns], |values| {
            let pushed = matrix.push_rows(values);
            pushed.map_err(|_| format!("the tensor {name} holds NaN or infinity"))
        })?;
        Ok(matrix)
    }

    /// A row of numbers of this length.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn numbers(&mut self, name: &str, count: usize) -> Result<Vec<f32>, String> {
        self.first_row(name, &[count])
    }

    /// The first row of a tensor of this shape.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn first_row(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let mut row = Vec::new();
        self.read(name, shape, |values| {
            if values.iter().any(|value| !value.is_finite()) {
                return Err(format!("the tensor {name} holds NaN or infinity"));
            }
            if row.is_empty() {
                row.extend_from_slice(values);
            }
            Ok(())
        })?;
        Ok(row)
    }

    /// Hands a tensor to `take`, row by row.
    fn read(
        &mut self,
        name: &str,
        shape: &[usize],
        mut take: impl FnMut(&[f32]) -> Result<(), String>,
    ) -> Result<(), String> {
        let begin = self.locate(name, shape)?;
        let failed = |cause: std::io::Error| format!("the tensor {name} cannot be read: {cause}");
        self.file.seek(SeekFrom::Start(begin)).map_err(failed)?;
        let columns = shape.last().copied().unwrap_or(1);
        let rows: usize = shape.iter().rev().skip(1).product();
        let mut bytes = vec![0; columns * 4];
        let mut values = vec![0.0; columns];
        let mut reader = std::io::BufReader::with_capacity(CHUNK, &self.file);
        for _ in 0..rows {
            reader.read_exact(&mut bytes).map_err(failed)?;
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
            take(&values)?;
        }
        Ok(())
    }

    /// Where a tensor begins in the file; it is all there.
    fn locate(&self, name: &str, shape: &[usize]) -> Result<u64, String> {
        let place = self
            .places
            .get(name)
            .ok_or_else(|| format!("it has no tensor {name}"))?;
        let place = TensorLocation::deserialize(place)
            .map_err(|cause| format!("what it says of the tensor {name} is damaged: {cause}"))?;
        if place.dtype != "F32" {
            return Err(format!(
                "the tensor {name} is {:.20}; only F32 is read",
                place.dtype
            ));
        }
        let wanted: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        if place.shape != wanted {
            let found: Vec<_> = place.shape.iter().take(4).collect();
            return Err(format!(
                "the tensor {name} has the shape {found:?}, and by config.json and vocab.txt it should have {wanted:?}"
            ));
        }
        let [from, to] = place.data_offsets;
        let bytes = wanted.iter().try_fold(4_u64, |all, n| all.checked_mul(*n));
        let end = self.begin.checked_add(to);
        let whole = to.checked_sub(from) == bytes && end.is_some_and(|end| end <= self.length);
        if !whole {
            return Err(format!(
                "the tensor {name} is not whole (bytes {from} to {to} of {}): it is cut off or damaged",
                self.length - self.begin
            ));
        }
        Ok(self.begin + from)
    }
}
