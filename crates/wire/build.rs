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

use prost::Message as _;

/// The folder that imports are relative to.
const PROTO_ROOT: &str = "../../proto";
/// Where the Mesos messages are, below [`PROTO_ROOT`].
const MESOS_FOLDER: &str = "mesos/v1";

/// Optional fields that are large and seldom set, and so are held in a box. Without that an empty
/// operation, two bytes on the wire, would take seven kilobytes of memory.
const BOXED: [&str; 15] = [
    "mesos.v1.ContainerInfo.docker",
    "mesos.v1.ContainerInfo.linux_info",
    "mesos.v1.ContainerInfo.mesos",
    "mesos.v1.ExecutorInfo.container",
    "mesos.v1.ExecutorInfo.discovery",
    "mesos.v1.Offer.Operation.create_disk",
    "mesos.v1.Offer.Operation.destroy_disk",
    "mesos.v1.Offer.Operation.grow_volume",
    "mesos.v1.Offer.Operation.launch_group",
    "mesos.v1.Offer.Operation.shrink_volume",
    "mesos.v1.TaskInfo.check",
    "mesos.v1.TaskInfo.discovery",
    "mesos.v1.TaskInfo.health_check",
    "mesos.v1.Volume.image",
    "mesos.v1.Volume.source",
];

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
    let schema = schema::Schema::new(&descriptors, &BOXED);
    std::fs::write(out.join("mesos_json.rs"), json::generate(&schema))?;
    // For the tests, which go through every message.
    std::fs::write(out.join("every_message.rs"), json::every_message(&schema))?;
    std::fs::write(out.join("mesos.fds"), descriptors.encode_to_vec())?;
    let mut config = prost_build::Config::new();
    for field in BOXED {
        config.boxed(format!(".{field}"));
    }
    config
        .bytes(["."])
        .btree_map(["."])
        .compile_well_known_types()
        .disable_comments([".google"])
        .include_file("mesos_modules.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
