//! What fuzzing has found worth keeping is replayed by the stable compiler, and so are the seeds with every byte changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use foreign::DECODERS;

fn fuzz_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

#[test]
fn every_decoder_takes_its_corpus() {
    for decoder in DECODERS {
        let folder = fuzz_folder().join("corpus").join(decoder.name);
        let files: Vec<_> = fs::read_dir(&folder).expect(decoder.name).collect();
        assert!(!files.is_empty(), "{} has no corpus", decoder.name);
        for file in files {
            (decoder.decode)(&fs::read(file.unwrap().path()).unwrap());
        }
    }
}

#[test]
fn every_decoder_has_a_fuzz_target_and_every_target_a_decoder() {
    let names = fs::read_dir(fuzz_folder().join("fuzz_targets")).unwrap();
    let files: BTreeSet<String> = names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let expected: BTreeSet<String> = DECODERS.iter().map(|decoder| format!("{}.rs", decoder.name)).collect();
    assert_eq!(files, expected);
}

#[test]
fn every_decoder_takes_its_seeds_cut_off_anywhere_and_with_any_byte_changed() {
    for decoder in DECODERS {
        for seed in (decoder.seeds)() {
            // The rest of a long seed is of the same kind as its beginning.
            for place in 0..seed.len().min(400) {
                (decoder.decode)(&seed[..place]);
                for byte in [0, 1, 0x7f, 0x80, 0xff, seed[place].wrapping_add(1)] {
                    let mut changed = seed.clone();
                    changed[place] = byte;
                    (decoder.decode)(&changed);
                }
            }
            (decoder.decode)(&seed);
        }
    }
}

#[test]
fn the_seeds_of_answers_are_read() {
    let answers = DECODERS.into_iter().find(|decoder| decoder.name == "answer").unwrap();
    for seed in (answers.seeds)() {
        assert_ne!(daybook_log::read_answer(&seed), 0, "{seed:?}");
    }
}
