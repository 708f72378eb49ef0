//! Puts every page of `docs/problems` into the binary, so that the `type` of a problem document is an address that exists.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

#[expect(clippy::disallowed_methods, reason = "cargo tells build scripts by the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../docs/problems").canonicalize()?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let names: Vec<String> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, std::io::Error>>()?;
    let mut codes: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".md")).collect();
    codes.retain(|code| *code != "README");
    // By code, as they are searched: with the ending on, `a-b.md` would come before `a.md`.
    codes.sort_unstable();
    let mut table = String::from("&[\n");
    for code in codes {
        writeln!(table, "    ({code:?}, include_str!({:?})),", folder.join(format!("{code}.md")))?;
    }
    table.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("pages.rs"), table)?;
    Ok(())
}
