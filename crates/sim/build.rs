//! Clock and chance of the program `sim` are its own (`src/machine.rs`), also for code that looks for the
//! system's by name.

fn main() {
    println!("cargo:rustc-link-arg-bin=sim=-Wl,--export-dynamic-symbol=getrandom");
    println!("cargo:rerun-if-changed=build.rs");
}
