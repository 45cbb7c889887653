//! Writes the fixtures of the stored format that are missing. One that is there is never touched:
//! it is what a released version wrote.

#[path = "../tests/samples/mod.rs"]
mod samples;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    std::fs::create_dir_all(&folder)?;
    for (name, bytes) in samples::all() {
        let path = folder.join(name);
        if !path.exists() {
            std::fs::write(&path, bytes)?;
        }
    }
    Ok(())
}
