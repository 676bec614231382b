use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

const MOST: usize = 64 * 1024;
const TEXT: &[u8] = br#"{"url":"https://a.example/","projectId":"p"}"#;
/// [`TEXT`], and 100 MiB of spaces, compressed with brotli.
const TEXT_BROTLI: &[u8] = b"\x8b\x15\x80\x7b\x22\x75\x72\x6c\x22\x3a\x22\x68\x74\x74\x70\x73\x3a\x2f\x2f\x61\x2e\x65\x78\x61\x6d\x70\x6c\x65\x2f\x22\x2c\x22\x70\x72\x6f\x6a\x65\x63\x74\x49\x64\x22\x3a\x22\x70\x22\x7d\x03";
const BOMB_BROTLI: &str = "CBFFFF3FF82540E2B14020F7FE8FFFFF7FF04B00C4611180EEFD1FFFFFFFE0970088C30200DDFB3FFEFFFFC12F0110870500BAF77FFCFFFF835F02200E0B0074EFFFF8FFFF07BF04401C1600E8DEFFF1FFFF0F7E0980382C00D0BDFFE3FFFF1FFC1200715800A07BFFC7FFFF3FF82500E2B00040F7FE8FFFFF7FF04B00C4610180EEFD1FFFFFFFE0970088C30200DDFB3FFEFFFFC12F0110870500BAF77FF9FFFF835F02200E0B0074EF7F00";

const ALL: [Encoding; 4] = [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd, Encoding::Deflate];

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    compress_to_vec(data, CompressionLevel::Fastest)
}

/// [`TEXT`] in each encoding; `deflate` with and without a zlib header.
fn texts() -> [(Encoding, Vec<u8>); 5] {
    [
        (Encoding::Gzip, gzip(TEXT)),
        (Encoding::Brotli, TEXT_BROTLI.to_vec()),
        (Encoding::Zstd, zstd(TEXT)),
        (Encoding::Deflate, zlib(TEXT)),
        (Encoding::Deflate, deflate(TEXT)),
    ]
}

fn encodings(value: &'static str) -> Result<Vec<Encoding>, Refusal> {
    let mut headers = HeaderMap::new();
    for line in value.split('\n') {
        headers.append(CONTENT_ENCODING, line.parse().unwrap());
    }
    Encodings::of(&headers).map(|encodings| encodings.0)
}

#[test]
fn the_header_is_read_in_order() {
    use Encoding::{Brotli, Deflate, Gzip, Zstd};
    for (value, expected) in [
        ("", vec![]),
        ("identity", vec![]),
        ("GZip", vec![Gzip]),
        ("x-gzip", vec![Gzip]),
        (" br , identity,zstd", vec![Brotli, Zstd]),
        ("deflate\ngzip", vec![Deflate, Gzip]),
    ] {
        assert_eq!(encodings(value).unwrap(), expected, "{value}");
    }
    for value in ["compress", "gzip;q=1", "gzip, foo", "gzip, gzip, gzip", "*"] {
        assert!(matches!(encodings(value), Err(Refusal::Encoding)), "{value}");
    }
    let none = Encodings::of(&HeaderMap::new()).unwrap();
    assert_eq!(none, Encodings::default());
}

#[test]
fn every_encoding_is_decoded_and_incomplete_data_is_not() {
    for (encoding, compressed) in texts() {
        assert_eq!(encoding.decode(&compressed, TEXT.len()).unwrap(), TEXT, "{encoding:?}");
        let short = encoding.decode(&compressed, TEXT.len() - 1);
        assert!(matches!(short, Err(Refusal::TooLarge(_))), "{encoding:?} {short:?}");
        let half = encoding.decode(&compressed[..compressed.len() / 2], MOST);
        let error = half.unwrap_err().to_string();
        assert!(error.starts_with("body: not complete, valid "), "{encoding:?} {error}");
    }
}

/// A zstd frame that contains nothing of the body.
fn skippable(magic: u8, content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len()).unwrap().to_le_bytes();
    [&[magic, 0x2a, 0x4d, 0x18], &size[..], content].concat()
}

#[test]
fn a_body_may_be_compressed_in_several_parts() {
    let bounds = [0, 0, 9, 20, TEXT.len(), TEXT.len()];
    let parts = || bounds.windows(2).map(|part| &TEXT[part[0]..part[1]]);
    let members: Vec<_> = parts().map(gzip).collect();
    let frames: Vec<_> = parts().map(zstd).collect();
    let [first, last] = [0x50, 0x5f].map(|magic| skippable(magic, b"not of the body"));
    let with_skippable = [first, frames.concat(), skippable(0x51, b""), last];
    for (encoding, body) in [
        (Encoding::Gzip, members.concat()),
        (Encoding::Zstd, frames.concat()),
        (Encoding::Zstd, with_skippable.concat()),
    ] {
        assert_eq!(encoding.decode(&body, TEXT.len()).unwrap(), TEXT, "{encoding:?}");
        let short = encoding.decode(&body, TEXT.len() - 1);
        assert!(matches!(short, Err(Refusal::TooLarge(_))), "{encoding:?} {short:?}");
        for rest in [&b"x"[..], b"\x28\xb5\x2f", b"\x50\x2a\x4d\x18\x09\0\0\0short"] {
            let error = encoding.decode(&[&body, rest].concat(), MOST).unwrap_err().to_string();
            assert!(error.starts_with("body: not complete, valid "), "{encoding:?} {error}");
        }
    }
}

#[test]
fn a_zstd_frame_whose_checksum_does_not_match_is_refused() {
    // What the libraries of clients write: a raw last block with a checksum.
    let frame = |checksum: [u8; 4]| {
        let header = [0x28, 0xb5, 0x2f, 0xfd, 0x24, 3, 0x19, 0, 0];
        [&header[..], b"abc", &checksum].concat()
    };
    let checksum = [0x99, 0x09, 0x77, 0xad];
    for bad in 0..5 {
        let mut changed = checksum;
        if let Some(byte) = changed.get_mut(bad) {
            *byte ^= 1;
        }
        let decoded = Encoding::Zstd.decode(&[frame(checksum), frame(changed)].concat(), MOST);
        match bad {
            4 => assert_eq!(decoded.unwrap(), b"abcabc"),
            _ => assert!(decoded.unwrap_err().to_string().contains("checksum"), "{bad}"),
        }
    }
}

#[tokio::test]
async fn two_encodings_are_removed_in_reverse_order() {
    let body = gzip(&zstd(TEXT));
    // The second limit is above what is decompressed at once in place.
    for most in [MOST, MOST + 1] {
        let both = Encodings(vec![Encoding::Zstd, Encoding::Gzip]);
        assert_eq!(both.decode(body.clone().into(), most).await.unwrap(), TEXT);
        let wrong = Encodings(vec![Encoding::Gzip, Encoding::Zstd]);
        assert!(wrong.decode(body.clone().into(), most).await.is_err());
    }
}

#[test]
fn a_bomb_is_refused_by_its_decompressed_size() {
    let spaces = vec![b' '; 8 << 20];
    let brotli = data_encoding::HEXUPPER.decode(BOMB_BROTLI.as_bytes()).unwrap();
    for (encoding, bomb) in [
        (Encoding::Gzip, gzip(&spaces)),
        (Encoding::Deflate, zlib(&spaces)),
        (Encoding::Brotli, brotli),
        (Encoding::Zstd, zstd(&spaces)),
    ] {
        assert!(bomb.len() < spaces.len() / 500, "{encoding:?} {}", bomb.len());
        let mut read = Vec::new();
        encoding.read(&bomb, MOST as u64 + 1, &mut read).unwrap();
        assert_eq!(read.len(), MOST + 1, "nothing beyond the bound is decompressed");
        let refused = encoding.decode(&bomb, MOST).unwrap_err();
        assert!(matches!(refused, Refusal::TooLarge(MOST)), "{encoding:?} {refused:?}");
    }
    // One inside the other: the inner data alone is above the bound.
    let nested = Encodings(vec![Encoding::Gzip, Encoding::Gzip]);
    let refused = nested.decode_now(gzip(&gzip(&spaces)).into(), 1024).unwrap_err();
    assert!(matches!(refused, Refusal::TooLarge(1024)), "{refused:?}");
}

#[test]
fn a_zstd_frame_with_a_large_window_is_refused() {
    // Magic number, no flags, a window of 2 GiB, and an empty last block.
    let frame = b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00";
    let error = Encoding::Zstd.decode(frame, MOST).unwrap_err().to_string();
    assert!(error.contains("window"), "{error}");
}

proptest! {
    #[test]
    fn damaged_data_is_survived(
        which in 0..5usize, at in any::<prop::sample::Index>(), byte in any::<u8>(),
        noise in prop::collection::vec(any::<u8>(), 0..300), use_noise in any::<bool>(),
    ) {
        let (encoding, mut data) = texts().into_iter().nth(which).unwrap();
        if use_noise {
            for encoding in ALL {
                let _ = encoding.decode(&noise, MOST);
            }
        }
        let at = at.index(data.len());
        data[at] = byte;
        if let Ok(decoded) = encoding.decode(&data, MOST) {
            prop_assert!(decoded.len() <= MOST);
        }
    }

    #[test]
    fn what_is_compressed_is_restored(data in prop::collection::vec(any::<u8>(), 0..5000)) {
        for (encoding, compressed) in [
            (Encoding::Gzip, gzip(&data)),
            (Encoding::Deflate, zlib(&data)),
            (Encoding::Deflate, deflate(&data)),
            (Encoding::Zstd, zstd(&data)),
        ] {
            prop_assert_eq!(encoding.decode(&compressed, MOST).unwrap(), data.clone());
        }
    }
}
