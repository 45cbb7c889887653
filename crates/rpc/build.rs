//! Generates the internal services from every `.proto` file in `proto/internal`.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/internal");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|ext| ext == "proto"));
    files.sort();
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
    }

    let descriptors = protox::compile(&files, [&folder])?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        // One file with the whole module tree, so that a new .proto needs no change here.
        .include_file("internal.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
