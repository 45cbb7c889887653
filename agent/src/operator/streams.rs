//! The v1 calls that stream: sessions, and the input and output of containers.
//!
//! Output goes out as RecordIO records of `ProcessIO`, in a response of the type
//! `application/recordio` to whoever accepts that, with the records' own type in
//! `Message-Content-Type`. Input comes in as RecordIO records of calls: the first names the
//! container, those after it carry bytes or control.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{
    HeaderMap, HeaderValue, Response, StatusCode, header::ACCEPT, header::CONTENT_TYPE,
};
use axum::response::IntoResponse;
use regency_wire::content::APPLICATION_RECORDIO;
use regency_wire::recordio::{self, Decoder};
use regency_wire::v1::agent::call::{AttachContainerInput, Type, attach_container_input};
use regency_wire::v1::agent::{Call, ProcessIo, process_io};
use regency_wire::{ContentType, decode, encode, v1, validate};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::containers::{self, Wanted, name_of, window};
use crate::containers::Attachment;
use crate::containers::name::Name;
use crate::containers::talk::{Input, Output};
use crate::http::Answers;
use crate::refused::Refused;

/// Header with the type of a request's records.
pub(super) const MESSAGE_CONTENT_TYPE: &str = "message-content-type";
/// Header with the type of records that a client accepts.
const MESSAGE_ACCEPT: &str = "message-accept";
/// How often output shows that it lives (Mesos).
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// Records that are encoded ahead of what the client reads.
const RECORDS_AHEAD: usize = 4;
/// Longest record of input.
const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// The form of a stream of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// Of the records.
    content: ContentType,
    /// Whether the response says that it consists of records.
    recordio: bool,
}

impl Form {
    /// What the client accepts. One that asks for plain JSON or protobuf gets records of it, as it
    /// does from SUBSCRIBE.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, Refused> {
        let texts = |name: &'static str| {
            let values = headers.get_all(name).iter();
            values.filter_map(|value| value.to_str().ok())
        };
        let ranges = texts(ACCEPT.as_str()).flat_map(|text| text.split(','));
        let mut media = ranges.map(|range| range.split(';').next().unwrap_or_default().trim());
        if media.any(|media| media.eq_ignore_ascii_case(APPLICATION_RECORDIO)) {
            let content = ContentType::acceptable(texts(MESSAGE_ACCEPT)).map_err(|_| {
                let words = "Expecting 'Message-Accept' to allow 'application/json' or \
                             'application/x-protobuf'";
                Refused::new(StatusCode::NOT_ACCEPTABLE, words)
            })?;
            return Ok(Self {
                content,
                recordio: true,
            });
        }
        let content = ContentType::acceptable(texts(ACCEPT.as_str())).map_err(|_| {
            let words = "Expecting 'Accept' to allow 'application/recordio', 'application/json' or \
                         'application/x-protobuf'";
            Refused::new(StatusCode::NOT_ACCEPTABLE, words)
        })?;
        Ok(Self {
            content,
            recordio: false,
        })
    }
}

/// Launches a container that lives as long as this response is read, and its command.
pub(super) async fn session(
    answers: &Arc<Answers>,
    call: Call,
    form: Form,
) -> Result<Response<Body>, Refused> {
    let attachment = answers.containers.attachment()?;
    let (sender, output) = mpsc::channel(answers.containers.output_messages_max());
    // It ends when `output` is dropped, wherever that happens.
    containers::launch(answers, Wanted::session(call, sender)).await?;
    Ok(stream(output, form, attachment))
}

/// What a container says from now on.
pub(super) async fn attach_output(
    answers: &Arc<Answers>,
    call: Call,
    form: Form,
) -> Result<Response<Body>, Refused> {
    let id = call
        .attach_container_output
        .unwrap_or_default()
        .container_id;
    let name = attached(answers, "attach_container_output", &id).await?;
    let attachment = answers.containers.attachment()?;
    let output = answers.containers.attach_output(&name)?;
    Ok(stream(output, form, attachment))
}

async fn attached(
    answers: &Arc<Answers>,
    field: &str,
    id: &v1::ContainerId,
) -> Result<Name, Refused> {
    name_of(answers, field, id, "it has neither a terminal nor pipes").await
}

/// The output as records, until either side ends.
fn stream(mut output: Output, form: Form, attachment: Attachment) -> Response<Body> {
    let (records, body) = mpsc::channel::<Result<Bytes, std::convert::Infallible>>(RECORDS_AHEAD);
    tokio::spawn(async move {
        let _attachment = attachment;
        let begin = tokio::time::Instant::now() + HEARTBEAT_INTERVAL;
        let mut heartbeats = tokio::time::interval_at(begin, HEARTBEAT_INTERVAL);
        loop {
            let message = tokio::select! {
                message = output.recv() => match message {
                    Some(message) => message,
                    None => return,
                },
                _ = heartbeats.tick() => heartbeat(),
                () = records.closed() => return,
            };
            let record = recordio::frame(&encode(form.content, &message));
            if records.send(Ok(record)).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(body)));
    let own = form.content.media_type();
    let media = if form.recordio {
        APPLICATION_RECORDIO
    } else {
        own
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(MESSAGE_CONTENT_TYPE, HeaderValue::from_static(own));
    response
}

fn heartbeat() -> ProcessIo {
    let nanoseconds = i64::try_from(HEARTBEAT_INTERVAL.as_nanos()).unwrap_or(i64::MAX);
    ProcessIo {
        r#type: Some(process_io::Type::Control as i32),
        data: None,
        control: Some(process_io::Control {
            r#type: Some(process_io::control::Type::Heartbeat as i32),
            tty_info: None,
            heartbeat: Some(process_io::control::Heartbeat {
                interval: Some(v1::DurationInfo { nanoseconds }),
            }),
        }),
    }
}

/// Hands what the body of a request says to a container. Answered when the body ends.
pub(super) async fn attach_input(
    answers: &Arc<Answers>,
    content: ContentType,
    body: Body,
) -> Result<Response<Body>, Refused> {
    let mut records = Records {
        body: body.into_data_stream(),
        decoder: Decoder::new(RECORD_BYTES_MAX),
        content,
    };
    let Some(first) = records.next().await? else {
        return Err(Refused::bad(
            "the request has no record that names a container",
        ));
    };
    let id = match (first.r#type(), first.container_id) {
        (attach_container_input::Type::ContainerId, Some(id)) => id,
        _ => {
            let words = "Expecting 'attach_container_input.type' of the first record to be \
                         CONTAINER_ID, with 'attach_container_input.container_id'";
            return Err(Refused::bad(words));
        }
    };
    let name = attached(answers, "attach_container_input", &id).await?;
    let _attachment = answers.containers.attachment()?;
    let input = answers.containers.attach_input(&name)?;
    while let Some(record) = records.next().await? {
        let io = match (record.r#type(), record.process_io) {
            (attach_container_input::Type::ProcessIo, Some(io)) => io,
            _ => {
                let words = "Expecting 'attach_container_input.type' to be PROCESS_IO, with \
                             'attach_container_input.process_io'";
                return Err(Refused::bad(words));
            }
        };
        if !hand_on(&input, io).await? {
            // The rest is for nobody.
            break;
        }
    }
    Ok(StatusCode::OK.into_response())
}

/// `false` when the container has ended.
async fn hand_on(input: &Input, io: ProcessIo) -> Result<bool, Refused> {
    let done = match (io.r#type(), io.data, io.control) {
        (process_io::Type::Data, Some(data), _) => {
            if data.r#type() != process_io::data::Type::Stdin {
                let words = "Expecting 'process_io.data.type' to be STDIN";
                return Err(Refused::bad(words));
            }
            input.write(&data.data.unwrap_or_default()).await
        }
        (process_io::Type::Control, _, Some(control)) => match control.r#type() {
            process_io::control::Type::Heartbeat => Ok(()),
            process_io::control::Type::TtyInfo => {
                let size = control.tty_info.and_then(|info| info.window_size);
                let size = size.ok_or_else(|| {
                    Refused::bad("'process_io.control.tty_info.window_size' is missing")
                })?;
                let (rows, columns) = window("process_io.control.tty_info", &size)?;
                input.resize(rows, columns).await
            }
            process_io::control::Type::Unknown => {
                return Err(Refused::bad("'process_io.control.type' is not known"));
            }
        },
        _ => {
            let words = "Expecting 'process_io.type' to be DATA or CONTROL, with that part";
            return Err(Refused::bad(words));
        }
    };
    Ok(done.is_ok())
}

/// The records of a request.
struct Records {
    body: axum::body::BodyDataStream,
    decoder: Decoder,
    content: ContentType,
}

impl Records {
    async fn next(&mut self) -> Result<Option<AttachContainerInput>, Refused> {
        loop {
            if let Some(record) = self.decoder.next_record().map_err(Refused::bad)? {
                let call: Call = decode(self.content, &record).map_err(Refused::bad)?;
                let call_type = validate::agent::check(&call).map_err(Refused::bad)?;
                if call_type != Type::AttachContainerInput {
                    let words = format!(
                        "Streaming 'Content-Type' {APPLICATION_RECORDIO} is not supported for {} call",
                        call_type.as_str_name()
                    );
                    return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
                }
                return Ok(call.attach_container_input);
            }
            match self.body.next().await {
                Some(Ok(piece)) => self.decoder.feed(&piece),
                Some(Err(error)) => {
                    return Err(Refused::bad(format!("the request broke off: {error}")));
                }
                None => {
                    self.decoder.finish().map_err(Refused::bad)?;
                    return Ok(None);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(headers: &[(&'static str, &'static str)]) -> Result<Form, u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Form::accepted(&map).map_err(|refused| refused.code.as_u16())
    }

    #[test]
    fn records_come_in_the_form_that_is_asked_for() {
        let of = |content, recordio| Ok(Form { content, recordio });
        let (json, protobuf) = (ContentType::Json, ContentType::Protobuf);
        assert_eq!(form(&[]), of(json, false));
        assert_eq!(
            form(&[("accept", "application/x-protobuf")]),
            of(protobuf, false)
        );
        let records = ("accept", "application/recordio");
        assert_eq!(form(&[records]), of(json, true));
        let binary = ("message-accept", "application/x-protobuf");
        assert_eq!(form(&[records, binary]), of(protobuf, true));
        assert_eq!(form(&[records, ("message-accept", "text/plain")]), Err(406));
        assert_eq!(form(&[("accept", "text/plain")]), Err(406));
    }
}
