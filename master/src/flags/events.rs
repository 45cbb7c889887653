//! Flags of the event streams of operators.

use crate::api::operator::EventLimits;

/// Flags of the event streams of operators.
#[derive(Debug, Clone, clap::Args)]
pub struct EventFlags {
    /// Most operators that watch events at this master; one more closes the oldest stream.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_operator_event_stream_subscribers: u32,

    /// Events kept so that an operator whose stream broke can go on; an older one begins anew.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub operator_events_kept: u32,

    /// Bytes of events that may wait for an operator who does not read; more close its stream.
    #[arg(long, default_value_t = 16 * 1024 * 1024, value_name = "BYTES")]
    pub operator_event_stream_buffer_bytes: u32,
}

impl EventFlags {
    pub(crate) fn limits(&self) -> EventLimits {
        let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        EventLimits {
            streams: size(self.max_operator_event_stream_subscribers),
            kept: size(self.operator_events_kept),
            waiting_bytes: size(self.operator_event_stream_buffer_bytes),
        }
    }
}
