//! One stream of events: the answer to one SUBSCRIBE.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use regency_wire::recordio::{Decoder, RecordError};
use regency_wire::v1::scheduler;
use regency_wire::{ContentType, decode};

use crate::event::Record;
use crate::session::Break;

/// The longest event accepted: offers of ten thousand agents in one event fit easily.
const EVENT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Events as they arrive.
#[derive(Debug)]
pub(crate) struct EventStream {
    body: Incoming,
    records: Decoder,
    content_type: ContentType,
}

impl EventStream {
    pub(crate) fn new(body: Incoming, content_type: ContentType) -> Self {
        Self {
            body,
            records: Decoder::new(EVENT_BYTES_MAX),
            content_type,
        }
    }

    /// The next event, whatever it is. Nothing is lost when the future is dropped early.
    ///
    /// # Errors
    /// When the stream is at its end; it stays there.
    pub(crate) async fn next(&mut self) -> Result<Record, Break> {
        loop {
            if let Some(record) = self.records.next_record().map_err(garbled)? {
                return decode::<scheduler::Event>(self.content_type, &record)
                    .map(Record::of)
                    .map_err(|error| Break::Garbled(error.to_string()));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(piece) = frame.data_ref() {
                        self.records.feed(piece);
                    }
                }
                // A master that dies ends its streams in the middle of anything.
                Some(Err(_)) | None => return Err(Break::Closed),
            }
        }
    }
}

fn garbled(error: RecordError) -> Break {
    Break::Garbled(error.to_string())
}
