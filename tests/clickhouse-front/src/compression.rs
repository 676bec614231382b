//! ClickHouse's own block framing (`compress=1`, `decompress=1`) and the LZ4 content
//! encoding of HTTP.

use std::io::{Read, Write};

/// A block's method byte, its compressed size with this header, its size.
const HEADER: usize = 9;
const CHECKSUM: usize = 16;
const LZ4: u8 = 0x82;
const STORED: u8 = 0x02;
/// The largest block that is written, and the largest that is accepted.
const BLOCK: usize = 1 << 20;
const MAX_BLOCK: usize = 1 << 30;

/// Frames `data` for `compress=1`.
pub fn to_blocks(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in data.chunks(BLOCK) {
        let packed = lz4_flex::block::compress(chunk);
        let mut block = Vec::with_capacity(HEADER + packed.len());
        block.push(LZ4);
        block.extend_from_slice(&length(HEADER + packed.len()));
        block.extend_from_slice(&length(chunk.len()));
        block.extend_from_slice(&packed);
        out.extend_from_slice(&checksum(&block));
        out.extend_from_slice(&block);
    }
    out
}

/// Undoes the framing of `decompress=1`.
pub fn from_blocks(mut data: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    while !data.is_empty() {
        let (sum, rest) = data.split_at_checked(CHECKSUM).ok_or("a cut block")?;
        let header = rest.get(..HEADER).ok_or("a cut block header")?;
        let size = number(&header[1..5])?;
        let plain = number(&header[5..9])?;
        if !(HEADER..=MAX_BLOCK).contains(&size) || plain > MAX_BLOCK {
            return Err(format!("a block of {size} bytes for {plain}"));
        }
        let block = rest.get(..size).ok_or("a cut block")?;
        if checksum(block) != sum {
            return Err("Checksum doesn't match: corrupted data".into());
        }
        let packed = &block[HEADER..];
        match header[0] {
            LZ4 => out.extend(
                lz4_flex::block::decompress(packed, plain).map_err(|error| error.to_string())?,
            ),
            STORED => out.extend_from_slice(packed),
            method => return Err(format!("compression method {method:#x} is not supported here")),
        }
        data = &rest[size..];
    }
    Ok(out)
}

/// The `lz4` content encoding.
pub fn to_frame(data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(data)?;
    encoder.finish().map_err(std::io::Error::other)
}

/// Undoes the `lz4` content encoding.
pub fn from_frame(data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    lz4_flex::frame::FrameDecoder::new(data).read_to_end(&mut out)?;
    Ok(out)
}

fn checksum(block: &[u8]) -> [u8; CHECKSUM] {
    cityhash_rs::cityhash_102_128(block).rotate_right(64).to_le_bytes()
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn number(bytes: &[u8]) -> Result<usize, String> {
    let bytes: [u8; 4] = bytes.try_into().map_err(|_| "a cut number")?;
    usize::try_from(u32::from_le_bytes(bytes)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, from_blocks, from_frame, to_blocks, to_frame};

    #[test]
    fn blocks_round_trip() {
        let data: Vec<u8> = (0..BLOCK * 2 + 7).map(|at| (at % 251) as u8).collect();
        assert_eq!(from_blocks(&to_blocks(&data)), Ok(data.clone()));
        assert_eq!(from_frame(&to_frame(&data).unwrap()).unwrap(), data);
        assert_eq!(from_blocks(&[]), Ok(Vec::new()));
    }

    #[test]
    fn corrupt_and_truncated_blocks_are_detected() {
        let mut blocks = to_blocks(b"rows and rows and rows");
        assert!(from_blocks(&blocks[..blocks.len() - 1]).is_err());
        let last = blocks.len() - 1;
        blocks[last] ^= 1;
        assert!(from_blocks(&blocks).unwrap_err().contains("Checksum"));
    }
}
