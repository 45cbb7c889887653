//! Compiles `proto/mesos` and writes, beside the types, their JSON mapping and their shapes.
//!
//! No installed `protoc` is needed. The JSON code is generated from the same descriptors as the
//! types, so that a field added to a `.proto` file cannot be forgotten in one of the two.

#[path = "build/json.rs"]
mod json;
#[path = "build/names.rs"]
mod names;
#[path = "build/schema.rs"]
mod schema;

use std::path::PathBuf;

/// The folder that imports are relative to.
const PROTO_ROOT: &str = "../../proto";
/// Where the Mesos messages are, below [`PROTO_ROOT`].
const MESOS_FOLDER: &str = "mesos/v1";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed={PROTO_ROOT}/{MESOS_FOLDER}");

    let mut files: Vec<String> = std::fs::read_dir(format!("{PROTO_ROOT}/{MESOS_FOLDER}"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .filter(|name: &Result<String, std::io::Error>| {
            !name.as_ref().is_ok_and(|name| !name.ends_with(".proto"))
        })
        .map(|name| name.map(|name| format!("{MESOS_FOLDER}/{name}")))
        .collect::<Result<_, _>>()?;
    files.sort();

    let descriptors = protox::compile(&files, [PROTO_ROOT])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out.join("mesos_json.rs"),
        json::generate(&schema::Schema::new(&descriptors)),
    )?;
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .compile_well_known_types()
        .disable_comments([".google"])
        .include_file("mesos_modules.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
