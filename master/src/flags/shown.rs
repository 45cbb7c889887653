//! The flags as they are in force, for those who ask a running master.

use std::collections::BTreeMap;

use clap::{ArgMatches, Command, Error, FromArgMatches};

/// Every flag of the command line with its value, given or default, as text.
///
/// It has to be the first field of the flags it is a part of: whoever comes later takes the values
/// away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownFlags(pub BTreeMap<String, String>);

impl FromArgMatches for ShownFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let flags = matches.ids().filter_map(|id| {
            let name = id.as_str();
            // Groups, which have the names of types.
            if name.contains(char::is_uppercase) {
                return None;
            }
            let values = matches.try_get_raw(name).ok()??;
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            Some((name.replace('-', "_"), values.join(",")))
        });
        Ok(Self(flags.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for ShownFlags {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use crate::MasterFlags;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        master: MasterFlags,
    }

    #[test]
    fn every_flag_with_a_value_is_shown_as_it_was_given() {
        let args = [
            "master",
            "--id=1",
            "--peers=1=a:1:2:3,2=b:1:2:3",
            "--data-dir=/d",
            "--allocation-interval=250ms",
        ];
        let shown = Program::try_parse_from(args)
            .expect("good flags")
            .master
            .shown
            .0;
        for (name, value) in [
            ("id", "1"),
            ("peers", "1=a:1:2:3,2=b:1:2:3"),
            ("allocation_interval", "250ms"),
            ("offer_grace", "30secs"),
            ("bootstrap", "false"),
            ("max_request_bytes", "33554432"),
        ] {
            assert_eq!(shown.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(
            !shown.contains_key("offer_timeout"),
            "there is no value for it"
        );
        for arg in Program::command().get_arguments() {
            let has_value = !arg.get_default_values().is_empty();
            let name = arg.get_id().as_str();
            assert!(
                !has_value || shown.contains_key(name),
                "{name} is not shown"
            );
        }
    }
}
