//! Where in the log an event belongs.

use std::fmt;
use std::str::FromStr;

/// An entry and how far its events go: the name of an event, and of the point behind it.
///
/// As text `812.3` is behind the event 3 of entry 812, and `812` behind the whole entry. The same on
/// every master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Index of the entry.
    pub index: u64,
    /// Which of its events, counted from 0.
    pub part: u32,
}

impl Position {
    /// Behind all events of an entry.
    #[must_use]
    pub fn behind(index: u64) -> Self {
        Self {
            index,
            part: u32::MAX,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            u32::MAX => write!(f, "{}", self.index),
            part => write!(f, "{}.{part}", self.index),
        }
    }
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the position of an event is the index of an entry, such as 812, or also a part, such as 812.3"
)]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (index, part) = match text.split_once('.') {
            None => (text, None),
            Some((index, part)) => (index, Some(part)),
        };
        Ok(Self {
            index: index.parse().map_err(|_| NoPosition)?,
            part: match part {
                None => u32::MAX,
                Some(part) => part.parse().map_err(|_| NoPosition)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_text_and_in_the_order_of_events() {
        let all = ["7.0", "7.1", "7", "8.0"].map(|text| text.parse::<Position>());
        assert!(all.is_sorted_by_key(|position| position.expect("a position")));
        for text in ["812", "812.3"] {
            let position: Position = text.parse().expect("a position");
            assert_eq!(position.to_string(), text);
        }
        for bad in ["", "x", "1.", ".1", "1.2.3", "-1"] {
            assert_eq!(bad.parse::<Position>(), Err(NoPosition), "{bad}");
        }
    }
}
