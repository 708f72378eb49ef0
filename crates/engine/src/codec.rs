//! The few bytes the engine lays out itself: bounded reading that never panics.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Stored bytes that are not what was written.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("stored bytes are cut off or malformed at byte {at}")]
pub struct Corrupt {
    pub at: usize,
}

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Corrupt> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(Corrupt { at: self.at })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Corrupt> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Corrupt> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Corrupt> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Corrupt> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Result<uuid::Uuid, Corrupt> {
        self.array().map(uuid::Uuid::from_bytes)
    }

    /// At most 65,535 bytes of UTF-8.
    pub(crate) fn text(&mut self) -> Result<&'a str, Corrupt> {
        let len = usize::from(self.u16()?);
        let at = self.at;
        std::str::from_utf8(self.take(len)?).map_err(|_| Corrupt { at })
    }

    pub(crate) fn blob(&mut self) -> Result<Bytes, Corrupt> {
        let len = self.u32()?;
        let len = usize::try_from(len).map_err(|_| Corrupt { at: self.at })?;
        self.take(len).map(Bytes::copy_from_slice)
    }
}

pub(crate) fn put_text(out: &mut BytesMut, text: &str) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16(len);
    out.put_slice(&text.as_bytes()[..usize::from(len)]);
}

pub(crate) fn put_blob(out: &mut BytesMut, blob: &[u8]) {
    // A blob comes from a message, and messages are bounded far below 4 GiB.
    out.put_u32(u32::try_from(blob.len()).unwrap_or(u32::MAX));
    out.put_slice(blob);
}
