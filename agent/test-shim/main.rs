//! The hidden subcommand alone, so that the tests of this crate need no other binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args
        .next()
        .is_some_and(|name| name == regency_agent::shim::SUBCOMMAND)
    {
        return regency_agent::shim::main(args);
    }
    ExitCode::from(2)
}
