//! Flags of who is offered what.

use std::collections::BTreeSet;

use regency_allocator::constraints::PatternLimits;

/// Rules of the allocator, under the names of Mesos.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Offers")]
pub struct OfferFlags {
    /// Offer agents with GPUs only to frameworks with the capability GPU_RESOURCES, so that others do
    /// not fill them.
    #[arg(
        long,
        default_value_t = true,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = false,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub filter_gpu_resources: bool,

    /// Names of resources that do not count towards fair shares, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub fair_sharing_excluded_resource_names: Vec<String>,

    /// Most bytes that a regular expression in offer constraints may take, compiled.
    #[arg(long, value_name = "BYTES", default_value = "4KB", value_parser = bytes)]
    pub offer_constraints_re2_max_mem: usize,

    /// Most steps that a regular expression in offer constraints may have, compiled.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub offer_constraints_re2_max_program_size: usize,
}

impl OfferFlags {
    /// How large patterns may be.
    pub(crate) fn pattern_limits(&self) -> PatternLimits {
        PatternLimits {
            max_mem: self.offer_constraints_re2_max_mem,
            max_program_size: self.offer_constraints_re2_max_program_size,
        }
    }

    /// Names that do not count towards shares.
    pub(crate) fn fair_sharing_excluded(&self) -> BTreeSet<String> {
        let names = self.fair_sharing_excluded_resource_names.iter();
        names.cloned().collect()
    }
}

/// An amount of memory as Mesos writes it: `4096`, `4096B`, `4KB`, `1MB`.
fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || format!("'{text}' is not an amount such as 4096B, 4KB or 1MB");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "KB" => 1024,
        "MB" => 1024 * 1024,
        _ => return Err(wrong()),
    };
    let number: usize = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_mesos_writes_them() {
        for (text, amount) in [("4KB", 4096), ("100", 100), ("100B", 100), ("1MB", 1 << 20)] {
            assert_eq!(bytes(text), Ok(amount));
        }
        for bad in ["", "KB", "4GiB", "-1", "1.5KB", "99999999999999999MB"] {
            assert!(bytes(bad).expect_err(bad).contains(&format!("'{bad}'")));
        }
    }
}
