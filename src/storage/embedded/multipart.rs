//! The parts of a form (RFC 7578), read as they arrive.
//!
//! Amazon S3 wants the file last, so the fields come first and are small; the file is handed on in chunks and never held.
//! The S3 library's own form reader keeps a whole file in memory, before it knows who sent it; this one is why it is not
//! used.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};

/// All fields together, in bytes.
const FIELDS: usize = 64 << 10;
/// The headers of one part.
const HEADERS: usize = 8 << 10;

/// Why a form could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// Not a form, or without a file.
    #[error("the form cannot be read: fields first, then one part named 'file'")]
    Malformed,
    /// Fields over the limit.
    #[error("the form's fields have more than 64 KiB")]
    TooLarge,
    /// The connection ended.
    #[error("the form ended early")]
    Incomplete,
}

/// A form being read.
pub(super) struct FormReader<S> {
    body: S,
    buffer: BytesMut,
    /// Line break, two dashes, boundary.
    delimiter: Vec<u8>,
    ended: bool,
}

impl<S, E> FormReader<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    /// A reader of `body`.
    pub(super) fn new(body: S, boundary: &str) -> Self {
        // The first delimiter has no line break before it; one put there makes all alike.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Self { body, buffer, delimiter: format!("\r\n--{boundary}").into_bytes(), ended: false }
    }

    /// The fields before the file, names in lower case. Afterwards [`FormReader::chunk`] gives the file.
    pub(super) async fn fields(&mut self) -> Result<Vec<(String, String)>, FormError> {
        let delimiter = self.delimiter.clone();
        let (mut fields, mut room) = (Vec::new(), FIELDS);
        if !self.until(&delimiter, 2).await?.is_empty() {
            return Err(FormError::Malformed);
        }
        loop {
            if self.take(2).await? != b"\r\n"[..] {
                return Err(FormError::Malformed);
            }
            let headers = self.until(b"\r\n\r\n", HEADERS).await?;
            let name = part_name(&headers).ok_or(FormError::Malformed)?;
            if name.eq_ignore_ascii_case("file") {
                return Ok(fields);
            }
            let value = self.until(&delimiter, room).await?;
            room = room.checked_sub(value.len() + name.len()).ok_or(FormError::TooLarge)?;
            let value = String::from_utf8(value.to_vec()).map_err(|_| FormError::Malformed)?;
            fields.push((name.to_ascii_lowercase(), value));
        }
    }

    /// The next bytes of the file; `None` at its end, which is only reached through a closing boundary.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, FormError> {
        while !self.ended {
            if let Some(at) = find(&self.buffer, &self.delimiter) {
                let last = self.buffer.split_to(at).freeze();
                let _ = self.buffer.split_to(self.delimiter.len());
                // What follows the file is ignored, as Amazon S3 does, but the boundary must be whole.
                let closing = self.take(2).await?;
                if closing != b"--"[..] && closing != b"\r\n"[..] {
                    return Err(FormError::Malformed);
                }
                self.ended = true;
                return Ok(Some(last));
            }
            let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if sure > 0 {
                return Ok(Some(self.buffer.split_to(sure).freeze()));
            }
            self.fill().await?;
        }
        Ok(None)
    }

    /// Takes what stands before `mark`, and the mark.
    async fn until(&mut self, mark: &[u8], limit: usize) -> Result<Bytes, FormError> {
        loop {
            if let Some(at) = find(&self.buffer, mark) {
                let found = self.buffer.split_to(at).freeze();
                let _ = self.buffer.split_to(mark.len());
                return if at > limit { Err(FormError::TooLarge) } else { Ok(found) };
            }
            if self.buffer.len() > limit + mark.len() {
                return Err(FormError::TooLarge);
            }
            self.fill().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<Bytes, FormError> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn fill(&mut self) -> Result<(), FormError> {
        match self.body.next().await {
            Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
            Some(Err(_)) | None => return Err(FormError::Incomplete),
        }
        Ok(())
    }
}

/// Where `mark`, which begins with a carriage return, first stands.
fn find(buffer: &[u8], mark: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = buffer.get(from..)?.iter().position(|&byte| byte == b'\r') {
        if buffer.get(from + at..)?.starts_with(mark) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// The name in a part's `Content-Disposition`.
fn part_name(headers: &[u8]) -> Option<String> {
    let headers = std::str::from_utf8(headers).ok()?;
    let value = headers.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let rest = value.trim().strip_prefix("form-data")?;
    rest.split(';').find_map(|parameter| {
        let value = parameter.trim().strip_prefix("name=")?;
        Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    type Read = (Vec<(String, String)>, Vec<u8>);

    /// The fields and the file of a form that arrives in pieces of `size` bytes.
    fn read(form: &[u8], size: usize) -> Result<Read, FormError> {
        let pieces: Vec<Result<Bytes, Infallible>> =
            form.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        futures::executor::block_on(async {
            let mut reader = FormReader::new(futures::stream::iter(pieces), "b");
            let fields = reader.fields().await?;
            let mut file = Vec::new();
            while let Some(chunk) = reader.chunk().await? {
                file.extend_from_slice(&chunk);
            }
            Ok((fields, file))
        })
    }

    fn form(file: &[u8]) -> Vec<u8> {
        let mut form = b"--b\r\nContent-Disposition: form-data; name=\"Key\"\r\n\r\na/b\r\n\
            --b\r\ncontent-type: text/plain\r\ncontent-disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n"
            .to_vec();
        form.extend_from_slice(file);
        form.extend_from_slice(b"\r\n--b--\r\n");
        form
    }

    proptest::proptest! {
        #[test]
        fn any_file_survives_any_cut(file in proptest::collection::vec("[\r\n-]|b|x|--b|\r\n-", 0..20), size in 1usize..9) {
            let file = file.concat().into_bytes();
            proptest::prop_assume!(find(&[b"\r\n", &file[..]].concat(), b"\r\n--b").is_none());
            let read = read(&form(&file), size);
            proptest::prop_assert_eq!(read, Ok((vec![("key".to_owned(), "a/b".to_owned())], file)));
        }
    }

    #[test]
    fn a_form_that_ends_early_has_no_end() {
        let whole = form(b"menu");
        for length in 0..whole.len() - 4 {
            assert_eq!(read(&whole[..length], 7), Err(FormError::Incomplete), "{length}");
        }
    }

    #[test]
    fn endless_fields_are_cut_off() {
        let mut form = b"--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n".to_vec();
        form.resize(1 << 20, b'x');
        assert_eq!(read(&form, 4096), Err(FormError::TooLarge));
        assert_eq!(read(&vec![b'x'; 1 << 20], 4096), Err(FormError::TooLarge));
    }
}
