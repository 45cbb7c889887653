//! Input and output of a container that has pipes or a terminal.
//!
//! One task reads what the shim says and hands output to everybody who is attached. Whoever launched
//! a session holds the command up by not reading, as behind a pipe; anybody else who is behind is cut
//! off.

use std::sync::{Arc, Mutex, PoisonError};

use regency_wire::v1::agent::{ProcessIo, process_io};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::metrics;
use crate::shim::frame::{self, FRAME_BYTES_MAX, Frame, Kind};

/// What a connection gets of a container's output.
pub(crate) type Output = mpsc::Receiver<ProcessIo>;

/// The agent's side of it.
#[derive(Debug)]
pub(crate) struct Talk {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    /// One permit while the command may be given more input.
    room: Semaphore,
    /// One permit: only one connection has the input.
    input: Arc<Semaphore>,
    listeners: Mutex<Vec<mpsc::Sender<ProcessIo>>>,
    /// Messages that may wait for one connection.
    messages_max: usize,
}

/// The input of a container while a connection has it.
#[derive(Debug)]
pub(crate) struct Input {
    talk: Arc<Talk>,
    _only: OwnedSemaphorePermit,
}

/// The container ended.
#[derive(Debug, thiserror::Error)]
#[error("the container has ended")]
pub(crate) struct Ended;

/// Messages that hold so many bytes together.
pub(crate) fn messages_max(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX) / FRAME_BYTES_MAX
}

impl Talk {
    /// With a future that reads what the shim says until its end. `first` is the connection of a
    /// session.
    pub(crate) fn begin(
        socket: tokio::net::UnixStream,
        first: Option<mpsc::Sender<ProcessIo>>,
        messages_max: usize,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + use<>) {
        let (reader, writer) = socket.into_split();
        let talk = Arc::new(Self {
            writer: tokio::sync::Mutex::new(writer),
            room: Semaphore::new(1),
            input: Arc::new(Semaphore::new(1)),
            listeners: Mutex::new(Vec::new()),
            messages_max: messages_max.max(1),
        });
        let listening = Arc::clone(&talk).listen(reader, first);
        (talk, listening)
    }

    async fn listen(
        self: Arc<Self>,
        mut reader: OwnedReadHalf,
        first: Option<mpsc::Sender<ProcessIo>>,
    ) {
        loop {
            let gone = async {
                match &first {
                    Some(first) => first.closed().await,
                    None => std::future::pending().await,
                }
            };
            let read = tokio::select! {
                read = frame::read(&mut reader) => read,
                // A session that nobody listens to any more.
                () = gone => break,
            };
            let frame = match read {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    // A shim that is killed ends in the middle of a word.
                    tracing::debug!(%error, "a container's process said something without sense");
                    break;
                }
            };
            let message = match frame.kind {
                Kind::Taken => {
                    self.room.add_permits(1);
                    continue;
                }
                Kind::Stdout => data(process_io::data::Type::Stdout, frame.data),
                Kind::Stderr => data(process_io::data::Type::Stderr, frame.data),
                Kind::Stdin | Kind::Size => break,
            };
            self.hand_out(&message);
            if let Some(first) = &first {
                // Its end is noticed in the next round.
                let _ = first.send(message).await;
            }
        }
        self.room.close();
        self.listeners().clear();
    }

    fn hand_out(&self, message: &ProcessIo) {
        self.listeners()
            .retain(|listener| match listener.try_send(message.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    ::metrics::counter!(metrics::OUTPUTS_CUT_OFF_TOTAL).increment(1);
                    false
                }
            });
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::Sender<ProcessIo>>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What the container says from now on.
    ///
    /// # Errors
    /// When it says nothing any more.
    pub(crate) fn attach_output(&self) -> Result<Output, Ended> {
        let (sender, output) = mpsc::channel(self.messages_max);
        let mut listeners = self.listeners();
        if self.room.is_closed() {
            return Err(Ended);
        }
        listeners.push(sender);
        Ok(output)
    }

    /// Takes the input; `None` while somebody else has it.
    pub(crate) fn attach_input(self: &Arc<Self>) -> Option<Input> {
        let only = Arc::clone(&self.input).try_acquire_owned().ok()?;
        let talk = Arc::clone(self);
        Some(Input { talk, _only: only })
    }
}

impl Input {
    /// Gives the command bytes; none are the end of its input. Returns when it may be given more.
    ///
    /// # Errors
    /// When it ended.
    pub(crate) async fn write(&self, bytes: &[u8]) -> Result<(), Ended> {
        if bytes.is_empty() {
            return self.send(bytes).await;
        }
        for part in bytes.chunks(FRAME_BYTES_MAX) {
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&self, bytes: &[u8]) -> Result<(), Ended> {
        let room = self.talk.room.acquire().await.map_err(|_| Ended)?;
        // Given back by the shim's word.
        room.forget();
        self.say(Frame::new(Kind::Stdin, bytes.to_vec())).await
    }

    /// Gives the terminal another size.
    ///
    /// # Errors
    /// When the container ended.
    pub(crate) async fn resize(&self, rows: u16, columns: u16) -> Result<(), Ended> {
        self.say(Frame::of_size(rows, columns)).await
    }

    async fn say(&self, frame: Frame) -> Result<(), Ended> {
        let mut writer = self.talk.writer.lock().await;
        writer.write_all(&frame.to_bytes()).await.map_err(|_| Ended)
    }
}

fn data(kind: process_io::data::Type, data: Vec<u8>) -> ProcessIo {
    ProcessIo {
        r#type: Some(process_io::Type::Data as i32),
        data: Some(process_io::Data {
            r#type: Some(kind as i32),
            data: Some(data.into()),
        }),
        control: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair() -> (Arc<Talk>, tokio::net::UnixStream) {
        let (ours, theirs) = tokio::net::UnixStream::pair().expect("a socket");
        let (talk, listening) = Talk::begin(ours, None, 2);
        tokio::spawn(listening);
        (talk, theirs)
    }

    #[tokio::test]
    async fn one_connection_has_the_input_and_waits_for_the_command() {
        let (talk, mut shim) = pair().await;
        let input = talk.attach_input().expect("free");
        assert!(talk.attach_input().is_none());
        input.write(b"one").await.expect("it lives");
        let frame = frame::read(&mut shim).await.expect("a frame");
        assert_eq!(frame, Some(Frame::new(Kind::Stdin, b"one".to_vec())));
        let mut second = Box::pin(input.write(b"two"));
        let early = futures_poll(&mut second).await;
        assert!(early.is_none(), "the first was not taken yet");
        let taken = Frame::new(Kind::Taken, Vec::new()).to_bytes();
        shim.write_all(&taken).await.expect("a socket");
        second.await.expect("it lives");
        drop(shim);
        assert!(input.write(b"three").await.is_err());
        drop(input);
        assert!(talk.attach_input().is_some());
    }

    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let now = std::time::Duration::ZERO;
        tokio::time::timeout(now, future).await.ok()
    }

    #[tokio::test]
    async fn who_does_not_read_is_cut_off_and_the_others_are_not() {
        let (talk, mut shim) = pair().await;
        let (mut reads, mut sleeps) = (
            talk.attach_output().expect("it lives"),
            talk.attach_output().expect("it lives"),
        );
        for n in 0..5_u8 {
            let frame = Frame::new(Kind::Stdout, vec![n]);
            shim.write_all(&frame.to_bytes()).await.expect("a socket");
            let message = reads.recv().await.expect("output");
            assert_eq!(message.data.expect("data").data.as_deref(), Some(&[n][..]));
        }
        assert!(sleeps.recv().await.is_some());
        assert!(sleeps.recv().await.is_some());
        assert!(sleeps.recv().await.is_none());
        drop(shim);
        assert!(reads.recv().await.is_none());
        assert!(talk.attach_output().is_err());
    }
}
