//! Decompresses request bodies (`Content-Encoding`), within the bound on the size of a body.
//!
//! A body is decompressed after it has arrived, so both sides are bounded: the compressed bytes and,
//! because decompression stops at the bound, the decompressed ones.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::refusal::Refusal;

/// The supported encodings, as in the header `Accept-Encoding`.
pub const SUPPORTED: &str = "gzip, br, zstd, deflate";
/// The most encodings applied to one body.
pub const MAX_ENCODINGS: usize = 2;

/// Bodies that may become larger than this many bytes are decompressed on a thread for blocking work.
const MAX_INLINE: usize = 64 * 1024;
/// The largest window of a zstd frame, in bytes, as recommended for HTTP by RFC 9659.
const MAX_ZSTD_WINDOW: u64 = 8 << 20;
/// The size of brotli's input buffer, in bytes.
const BROTLI_BUFFER: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Brotli,
    Zstd,
    Deflate,
}

/// The encodings of a body, in the order in which they were applied; empty for a plain body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Encodings(Vec<Encoding>);

impl Encodings {
    /// Reads the header `Content-Encoding`.
    ///
    /// # Errors
    /// [`Refusal::Encoding`] if there is an unsupported one, or too many.
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut encodings = Vec::new();
        let values = headers.get_all(CONTENT_ENCODING).iter();
        for name in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
            let name = name.trim_ascii().to_ascii_lowercase();
            let encoding = match name.as_slice() {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Encoding::Gzip,
                b"br" => Encoding::Brotli,
                b"zstd" => Encoding::Zstd,
                b"deflate" => Encoding::Deflate,
                _ => return Err(Refusal::Encoding),
            };
            encodings.push(encoding);
        }
        if encodings.len() > MAX_ENCODINGS {
            return Err(Refusal::Encoding);
        }
        Ok(Self(encodings))
    }

    /// Whether the body is plain.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decompresses `body` to at most `most` bytes.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], or an invalid `body` if it is damaged or incomplete.
    pub async fn decode(self, body: Bytes, most: usize) -> Result<Bytes, Refusal> {
        if self.is_empty() {
            return Ok(body);
        }
        if most <= MAX_INLINE {
            return self.decode_now(body, most);
        }
        let decoding = tokio::task::spawn_blocking(move || self.decode_now(body, most));
        let stopped = |_| Refusal::field("body", "cannot be decompressed");
        decoding.await.map_err(stopped)?
    }

    fn decode_now(self, mut body: Bytes, most: usize) -> Result<Bytes, Refusal> {
        // The last one applied is the first to be removed. The data in between is bounded as well.
        for encoding in self.0.into_iter().rev() {
            body = encoding.decode(&body, most)?.into();
        }
        Ok(body)
    }
}

impl Encoding {
    fn decode(self, compressed: &[u8], most: usize) -> Result<Vec<u8>, Refusal> {
        let mut decompressed = Vec::new();
        let read = self.read(compressed, most as u64 + 1, &mut decompressed);
        match read {
            Ok(_) if decompressed.len() > most => Err(Refusal::TooLarge(most)),
            Ok(_) => Ok(decompressed),
            Err(error) => {
                Err(Refusal::field("body", format!("not complete, valid {}: {error}", self.name())))
            }
        }
    }

    /// Decompresses up to `most` bytes.
    fn read(self, compressed: &[u8], most: u64, to: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Gzip => MultiGzDecoder::new(compressed).take(most).read_to_end(to),
            Self::Deflate if is_zlib(compressed) => {
                ZlibDecoder::new(compressed).take(most).read_to_end(to)
            }
            Self::Deflate => DeflateDecoder::new(compressed).take(most).read_to_end(to),
            Self::Brotli => brotli_decompressor::Decompressor::new(compressed, BROTLI_BUFFER)
                .take(most)
                .read_to_end(to),
            Self::Zstd => read_zstd(compressed, most, to),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }
}

/// Decompresses up to `most` bytes of zstd: one or more frames, each with its checksum if it has one.
/// Skippable frames are skipped.
fn read_zstd(mut compressed: &[u8], most: u64, to: &mut Vec<u8>) -> io::Result<usize> {
    use FrameDecoderError::ReadFrameHeaderError as BadHeader;
    let mut frame = FrameDecoder::new();
    frame.set_max_window_size(MAX_ZSTD_WINDOW);
    let mut total = 0;
    loop {
        match StreamingDecoder::new_with_decoder(&mut compressed, &mut frame) {
            Ok(decoder) => total += decoder.take(most - total as u64).read_to_end(to)?,
            Err(BadHeader(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let length = usize::try_from(length).map_err(io::Error::other)?;
                compressed = compressed.get(length..).ok_or(io::ErrorKind::UnexpectedEof)?;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        if total as u64 == most {
            return Ok(total);
        }
        if let Some(expected) = frame.get_checksum_from_data()
            && frame.get_calculated_checksum() != Some(expected)
        {
            return Err(io::Error::other("the checksum does not match"));
        }
        if compressed.is_empty() {
            return Ok(total);
        }
    }
}

/// Whether the data has a zlib header, which `deflate` requires and some clients leave out.
fn is_zlib(data: &[u8]) -> bool {
    matches!(data, [first, second, ..]
        if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

#[cfg(test)]
mod tests;
