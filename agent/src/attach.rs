//! The stream to whichever master leads.
//!
//! Tries the masters in turn until one of them keeps the stream, and does so again when it ends.
//! A master that does not lead names the leader, which is tried next. Whether a stream stands is
//! decided by the machine behind [`Event`]; here only addresses, delays and bytes are known.

use std::collections::VecDeque;
use std::time::Duration;

use regency_agent_core::StreamNo;
use regency_rpc::ChannelSettings;
use regency_rpc::proto::regency::agent::v1 as rpc;
use regency_rpc::proto::regency::agent::v1::agent_attachment_client::AgentAttachmentClient;
use regency_rpc::proto::regency::agent::v1::master_message::Message;
use regency_runtime::Backoff;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Shortest wait between two rounds over the masters.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// How long a master may take to answer an attachment before the next one is tried. A leader
/// answers a known agent at once and a new one after a commit, any other master at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Messages to the master that may wait; more of them means that it does not read.
const OUTBOUND_MAX: usize = 256;
/// Follow this many "ask that one instead" before waiting: right after an election masters may
/// name each other in a circle.
const REDIRECTS_MAX: usize = 3;

/// What happens on a stream.
#[derive(Debug)]
pub(crate) enum Event {
    /// A stream is about to be opened; what is sent goes here.
    Opened(StreamNo, mpsc::Sender<rpc::AgentMessage>),
    /// The master said something.
    Said(StreamNo, rpc::MasterMessage),
    /// The stream ended.
    Closed(StreamNo),
}

/// Leave a stream.
#[derive(Debug)]
pub(crate) struct Leave {
    pub(crate) stream: StreamNo,
    /// "host:port" to try first.
    pub(crate) hint: Option<String>,
}

/// How one attempt ended.
struct Attempt {
    /// The master had said that the attachment stands.
    stood: bool,
    hint: Option<String>,
}

/// Keeps a stream to the leader until nobody listens to `events` any more.
pub(crate) async fn keep_attached(
    masters: Vec<String>,
    backoff_max: Duration,
    events: mpsc::Sender<Event>,
    mut leaves: mpsc::Receiver<Leave>,
) {
    let mut backoff = Backoff::new(BACKOFF_FIRST, backoff_max);
    let mut order: VecDeque<String> = masters.into();
    let mut last_stream = StreamNo(0);
    while !events.is_closed() {
        for _ in 0..order.len() {
            let Some(address) = order.pop_front() else {
                return;
            };
            // Whoever was just tried is the last one to be tried again.
            order.push_back(address.clone());
            let mut next = Some(address);
            let mut n_redirects = 0;
            let mut stood = false;
            while let Some(address) = next.take() {
                last_stream = StreamNo(last_stream.0 + 1);
                let attempt = attempt(&address, last_stream, &events, &mut leaves).await;
                stood = attempt.stood;
                if !stood && n_redirects < REDIRECTS_MAX {
                    next = attempt.hint;
                    n_redirects += 1;
                }
            }
            if stood {
                // What ended was a leader's stream: the search begins anew.
                backoff.reset();
                break;
            }
        }
        backoff.wait().await;
    }
}

async fn attempt(
    address: &str,
    stream: StreamNo,
    events: &mpsc::Sender<Event>,
    leaves: &mut mpsc::Receiver<Leave>,
) -> Attempt {
    let mut attempt = Attempt {
        stood: false,
        hint: None,
    };
    let (outbound, inbound) = mpsc::channel(OUTBOUND_MAX);
    // The first message must wait in the channel already: a master answers nothing before it.
    if events.send(Event::Opened(stream, outbound)).await.is_err() {
        return attempt;
    }
    match talk(address, stream, inbound, events, leaves, &mut attempt).await {
        Ok(()) => {}
        Err(error) => tracing::debug!(master = address, error, "attachment failed"),
    }
    // The driver is gone when this fails.
    let _ = events.send(Event::Closed(stream)).await;
    attempt
}

async fn talk(
    address: &str,
    stream: StreamNo,
    outbound: mpsc::Receiver<rpc::AgentMessage>,
    events: &mpsc::Sender<Event>,
    leaves: &mut mpsc::Receiver<Leave>,
    attempt: &mut Attempt,
) -> Result<(), String> {
    let settings = ChannelSettings::default();
    let channel = regency_rpc::channel(address, &settings).map_err(|error| error.to_string())?;
    let mut client = AgentAttachmentClient::new(channel)
        .max_decoding_message_size(regency_rpc::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(regency_rpc::MESSAGE_BYTES_MAX);
    let answer = async {
        let mut inbound = client
            .attach(ReceiverStream::new(outbound))
            .await
            .map_err(|status| status.message().to_owned())?
            .into_inner();
        let first = inbound
            .message()
            .await
            .map_err(|status| status.message().to_owned())?;
        Ok::<_, String>((inbound, first))
    };
    let (mut inbound, mut message) = tokio::select! {
        answer = tokio::time::timeout(ANSWER_TIMEOUT, answer) => match answer {
            Ok(answer) => answer?,
            Err(_) => return Err(format!("no answer within {ANSWER_TIMEOUT:?}")),
        },
        leave = left(stream, leaves) => {
            attempt.hint = leave;
            return Ok(());
        }
    };
    while let Some(said) = message {
        let stands = matches!(said.message, Some(Message::Attached(_)));
        if events.send(Event::Said(stream, said)).await.is_err() {
            return Ok(());
        }
        if stands && !attempt.stood {
            attempt.stood = true;
            tracing::info!(master = address, "attached");
        }
        tokio::select! {
            // What the master said before the stream was left is of no interest any more.
            biased;
            leave = left(stream, leaves) => {
                attempt.hint = leave;
                return Ok(());
            }
            next = inbound.message() => {
                message = next.map_err(|status| status.message().to_owned())?;
            }
        }
    }
    // A refusal ends the stream; who leads instead is told by what the refusal led to.
    attempt.hint = hint_left_behind(stream, leaves).await;
    Ok(())
}

/// Returns when `stream` is to be left.
async fn left(stream: StreamNo, leaves: &mut mpsc::Receiver<Leave>) -> Option<String> {
    loop {
        match leaves.recv().await {
            Some(leave) if leave.stream == stream => return leave.hint,
            // Of a stream that ended by itself in the meantime.
            Some(_) => {}
            None => return None,
        }
    }
}

/// The driver answers a refusal with a [`Leave`]; it may still be under way when the stream ends.
async fn hint_left_behind(stream: StreamNo, leaves: &mut mpsc::Receiver<Leave>) -> Option<String> {
    const UNDER_WAY: Duration = Duration::from_millis(100);
    tokio::time::timeout(UNDER_WAY, left(stream, leaves))
        .await
        .ok()
        .flatten()
}
