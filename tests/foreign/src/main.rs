//! Writes the seeds of every decoder into a corpus: `cargo run --package foreign -- fuzz/corpus`.

use std::path::PathBuf;
use std::{env, fs, io};

use foreign::DECODERS;

fn main() -> io::Result<()> {
    let usage = || io::Error::other("name the folder of the corpus");
    let corpus = PathBuf::from(env::args_os().nth(1).ok_or_else(usage)?);
    for decoder in DECODERS {
        let folder = corpus.join(decoder.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (decoder.seeds)().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), seed)?;
        }
    }
    Ok(())
}
