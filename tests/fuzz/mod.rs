//! The fuzz targets without a fuzzer: on their corpus, and on damaged copies of it. Inputs that
//! made the fuzzer fail are added to the corpus.

#[path = "../../fuzz/src/intake.rs"]
mod intake;
#[path = "../../fuzz/src/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;

use targets::ALL;

fn fuzz_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The files of a target's corpus.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(fuzz_dir().join("corpus").join(target)).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().path()).collect();
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn every_input_of_the_corpus_holds() {
    for (name, target) in ALL {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        inputs.iter().for_each(|input| target(input));
    }
}

#[test]
fn every_target_has_a_program() {
    let files = fs::read_dir(fuzz_dir().join("fuzz_targets")).unwrap();
    let files: BTreeSet<_> = files
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(files, ALL.iter().map(|(name, _)| (*name).to_owned()).collect());
}

/// A change of some bytes.
#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
    ]
}

fn damaged(mut bytes: Vec<u8>, all: &[Damage]) -> Vec<u8> {
    for one in all {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        let part = |at: &Index, size: usize| {
            let start = at.index(length);
            start..length.min(start + size)
        };
        match one {
            Damage::Set(at, byte) => bytes[at.index(length)] = *byte,
            Damage::Insert(at, more) => {
                let start = at.index(length);
                bytes.splice(start..start, more.iter().copied());
            }
            Damage::Remove(at, size) => {
                bytes.drain(part(at, *size));
            }
            Damage::Repeat(at, size) => {
                let copy = bytes[part(at, *size)].to_vec();
                bytes.extend(copy);
            }
        }
    }
    bytes
}

proptest! {
    #[test]
    fn damaged_inputs_hold(
        input: Index,
        damage in prop::collection::vec(damage(), 0..6),
    ) {
        for (name, target) in ALL {
            let inputs = corpus(name);
            target(&damaged(inputs[input.index(inputs.len())].clone(), &damage));
        }
    }
}
