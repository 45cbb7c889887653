//! Errors as people see them: one line.

use std::io::Write;
use std::process::ExitCode;

/// Status of a command that failed.
const FAILED: u8 = 1;
/// Status of a command line that is no command.
const WRONG_COMMAND_LINE: u8 = 2;

/// Prints what is wrong with the command line, or the help that was asked for.
pub(crate) fn command_line(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help and version. A closed pipe is the reader's decision.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    say(&one_line(&error.to_string()));
    ExitCode::from(WRONG_COMMAND_LINE)
}

/// Prints why a command failed.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    say(&format!("error: {error:#}"));
    ExitCode::from(FAILED)
}

fn say(line: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The message itself: what comes before the usage, joined.
fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_complaint_becomes_one_line_with_its_value() {
        let command = clap::Command::new("x")
            .arg(clap::arg!(--port <PORT>).value_parser(clap::value_parser!(u16)))
            .arg(clap::arg!(--dir <DIR>).required(true));
        let complain = |args: &[&str]| {
            let error = command.clone().try_get_matches_from(args);
            one_line(&error.expect_err("wrong flags").to_string())
        };
        assert_eq!(
            complain(&["x", "--port", "many", "--dir", "d"]),
            "error: invalid value 'many' for '--port <PORT>': invalid digit found in string"
        );
        assert_eq!(
            complain(&["x"]),
            "error: the following required arguments were not provided: --dir <DIR>"
        );
    }
}
