//! Offer constraints: which agents a framework wants offers of, by what is written on them.
//!
//! The patterns are those of Rust's `regex` without Unicode. That is what RE2 takes for the sake of
//! frameworks written for Mesos (`\d`, `\w` and `\b` mean ASCII there, too), but for three things: a
//! dot is one byte and not one character, a character beyond ASCII cannot stand in brackets, and
//! classes such as `\pL` are refused. Both know no back references and take time in proportion to
//! the text.

use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{Compiler, Config, WhichCaptures};
use regex_automata::{Anchored, Input};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, Look};

/// What constraints can ask of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentFacts {
    /// Name frameworks reach its machine by.
    pub hostname: String,
    /// Where it is, if it says so.
    pub region: Option<String>,
    /// Where in its region it is, if it says so.
    pub zone: Option<String>,
    /// Its attributes in their order; the text of those that are text.
    pub attributes: Vec<(String, Option<String>)>,
}

impl AgentFacts {
    /// The value selected: `None` when there is none, `Some(None)` when it is not text. Of attributes
    /// with the same name the first counts (Mesos 1.11).
    fn value(&self, selector: &Selector) -> Option<Option<&str>> {
        match selector {
            Selector::Hostname => Some(Some(&self.hostname)),
            Selector::Region => self.region.as_deref().map(Some),
            Selector::Zone => self.zone.as_deref().map(Some),
            Selector::Attribute(name) => self
                .attributes
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, text)| text.as_deref()),
        }
    }
}

/// What of an agent is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The first attribute of this name.
    Attribute(String),
    /// Its host name.
    Hostname,
    /// The region of its fault domain.
    Region,
    /// The zone of its fault domain.
    Zone,
}

/// What must hold for the value selected.
#[derive(Debug, Clone)]
pub enum Predicate {
    /// It is there.
    Exists,
    /// It is not there.
    NotExists,
    /// It is this text.
    TextEquals(String),
    /// It is not this text.
    TextNotEquals(String),
    /// The pattern matches the whole text.
    TextMatches(Pattern),
    /// The pattern does not match the whole text.
    TextNotMatches(Pattern),
}

impl Predicate {
    /// What is not text passes all four predicates of texts; what is absent passes those that deny.
    fn holds(&self, value: Option<Option<&str>>) -> bool {
        let Some(value) = value else {
            return matches!(
                self,
                Self::NotExists | Self::TextNotEquals(_) | Self::TextNotMatches(_)
            );
        };
        let text = |test: &dyn Fn(&str) -> bool| value.is_none_or(test);
        match self {
            Self::Exists => true,
            Self::NotExists => false,
            Self::TextEquals(expected) => text(&|text| text == expected),
            Self::TextNotEquals(expected) => text(&|text| text != expected),
            Self::TextMatches(pattern) => text(&|text| pattern.matches(text)),
            Self::TextNotMatches(pattern) => text(&|text| !pattern.matches(text)),
        }
    }
}

/// One thing that an agent must have or be.
#[derive(Debug, Clone)]
pub struct AttributeConstraint {
    /// What is looked at.
    pub selector: Selector,
    /// What must hold for it.
    pub predicate: Predicate,
}

/// The constraints of a framework in one of its roles: all of at least one group must hold.
#[derive(Debug, Clone)]
pub struct RoleConstraints {
    /// The groups.
    pub groups: Vec<Vec<AttributeConstraint>>,
}

impl RoleConstraints {
    /// Whether offers of the agent are wanted.
    #[must_use]
    pub fn admit(&self, agent: &AgentFacts) -> bool {
        let holds = |constraint: &AttributeConstraint| {
            constraint
                .predicate
                .holds(agent.value(&constraint.selector))
        };
        self.groups.iter().any(|group| group.iter().all(holds))
    }
}

/// How large a pattern may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternLimits {
    /// Bytes that it may take, compiled.
    pub max_mem: usize,
    /// Steps that it may consist of, compiled.
    pub max_program_size: usize,
}

impl PatternLimits {
    /// None, for patterns that were taken under some limits already.
    pub const NONE: Self = Self {
        max_mem: usize::MAX,
        max_program_size: usize::MAX,
    };
}

/// Why a pattern is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is not a regular expression.
    #[error("the regular expression '{pattern}' cannot be read: {reason}")]
    Syntax {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// It is one, but beyond the limits.
    #[error("the regular expression '{pattern}' is too complex: {reason}")]
    TooComplex {
        /// The pattern.
        pattern: String,
        /// Which limit it is beyond.
        reason: String,
    },
}

/// A pattern that a whole text matches or not.
#[derive(Debug, Clone)]
pub struct Pattern(PikeVM);

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When it is no regular expression, or beyond the limits.
    pub fn new(pattern: &str, limits: PatternLimits) -> Result<Self, PatternError> {
        let syntax = |error: &regex_syntax::Error| PatternError::Syntax {
            pattern: pattern.to_owned(),
            reason: reason(error),
        };
        let too_complex = |reason: String| PatternError::TooComplex {
            pattern: pattern.to_owned(),
            reason,
        };
        let hir = ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(pattern)
            .map_err(|error| syntax(&error))?;
        let whole = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
        let nfa = Compiler::new()
            .configure(
                Config::new()
                    .utf8(false)
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(limits.max_mem)),
            )
            .build_from_hir(&whole)
            .map_err(|error| too_complex(error.to_string()))?;
        let steps = nfa.states().len();
        if steps > limits.max_program_size {
            return Err(too_complex(format!(
                "it has {steps} steps, more than {}",
                limits.max_program_size
            )));
        }
        PikeVM::new_from_nfa(nfa)
            .map(Self)
            .map_err(|error| too_complex(error.to_string()))
    }

    fn matches(&self, text: &str) -> bool {
        let input = Input::new(text).anchored(Anchored::Yes);
        self.0.is_match(&mut self.0.create_cache(), input)
    }
}

/// One line; the long form draws the pattern with marks below it.
fn reason(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The defaults of Mesos 1.11.
    const LIMITS: PatternLimits = PatternLimits {
        max_mem: 4096,
        max_program_size: 100,
    };

    fn facts() -> AgentFacts {
        AgentFacts {
            hostname: "a1.example".into(),
            region: Some("eu".into()),
            zone: None,
            attributes: vec![
                ("rack".into(), Some("r-17".into())),
                ("rack".into(), Some("second".into())),
                ("bays".into(), None),
            ],
        }
    }

    fn holds(selector: &Selector, predicate: Predicate) -> bool {
        let group = vec![AttributeConstraint {
            selector: selector.clone(),
            predicate,
        }];
        RoleConstraints {
            groups: vec![group],
        }
        .admit(&facts())
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text, LIMITS).expect("a pattern within the limits")
    }

    /// Exists, not exists, equals, not equals, matches, does not match.
    fn of(selector: &Selector, text: &str, regex: &str) -> [bool; 6] {
        [
            Predicate::Exists,
            Predicate::NotExists,
            Predicate::TextEquals(text.into()),
            Predicate::TextNotEquals(text.into()),
            Predicate::TextMatches(pattern(regex)),
            Predicate::TextNotMatches(pattern(regex)),
        ]
        .map(|predicate| holds(selector, predicate))
    }

    #[test]
    fn predicates_are_those_of_mesos() {
        let rack = Selector::Attribute("rack".into());
        let (yes, no) = (true, false);
        assert_eq!(of(&rack, "r-17", r"r-\d+"), [yes, no, yes, no, yes, no]);
        // The second attribute of a name does not count, and a part of the text is not the text.
        assert_eq!(of(&rack, "second", r"r-\d"), [yes, no, no, yes, no, yes]);
        // What is absent passes what denies.
        let absent = [no, yes, no, yes, no, yes];
        assert_eq!(of(&Selector::Attribute("x".into()), "", ".*"), absent);
        assert_eq!(of(&Selector::Zone, "", ".*"), absent);
        // What is not text passes all that is asked of texts.
        let bays = Selector::Attribute("bays".into());
        assert_eq!(of(&bays, "3", "3"), [yes, no, yes, yes, yes, yes]);
        assert_eq!(
            of(&Selector::Hostname, "a1.example", "a[12]\\.example"),
            [yes, no, yes, no, yes, no]
        );
        assert_eq!(
            of(&Selector::Region, "eu", "us|eu"),
            [yes, no, yes, no, yes, no]
        );
    }

    #[test]
    fn all_of_one_group_must_hold() {
        let is = |name: &str, text: &str| AttributeConstraint {
            selector: Selector::Attribute(name.into()),
            predicate: Predicate::TextEquals(text.into()),
        };
        let admits = |groups| RoleConstraints { groups }.admit(&facts());
        assert!(!admits(vec![vec![is("rack", "r-17"), is("x", "y")]]));
        assert!(admits(vec![
            vec![is("rack", "r-17"), is("x", "y")],
            vec![is("rack", "r-17")]
        ]));
    }

    #[test]
    fn alternatives_flags_and_comments_stay_within_the_pattern() {
        let matches = |regex: &str, text: &str| pattern(regex).matches(text);
        // The first alternative that matches a part is not the end of it.
        assert!(matches("a|ab", "ab"));
        assert!(matches("(?x) a b # the rest is a comment", "ab"));
        assert!(!matches("(?x) a b # the rest is a comment", "abc"));
        assert!(matches("(?i)RACK", "rack"));
        assert!(!matches("a", "a\n"));
        assert!(
            matches("ä+", "ää"),
            "characters beyond ASCII are themselves"
        );
    }

    #[test]
    fn patterns_beyond_the_limits_are_refused_and_common_ones_are_not() {
        for common in [
            r"rack-\d+",
            r"(eu|us)-(east|west)-[0-9]{1,2}[a-c]?",
            r".*\.dc1\.example\.com",
            r"host[0-9]{4}\.rack[0-9]{2}",
        ] {
            Pattern::new(common, LIMITS).unwrap_or_else(|error| panic!("{common}: {error}"));
        }
        let error = |regex: &str| {
            Pattern::new(regex, LIMITS)
                .expect_err("it is not taken")
                .to_string()
        };
        let steps = error("a{120}");
        assert!(steps.contains("'a{120}' is too complex"), "{steps}");
        assert!(steps.ends_with("steps, more than 100"), "{steps}");
        let memory = error("(a{100}){100}");
        assert!(memory.contains("exceeded limit of 4096"), "{memory}");
        assert!(error("(").contains("'(' cannot be read: unclosed group"));
        assert!(error(r"(a)\1").contains("cannot be read"));
        assert!(Pattern::new("a{200}", PatternLimits::NONE).is_ok());
    }
}
