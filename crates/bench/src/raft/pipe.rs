//! A connection with many requests on their way at once; answers are matched by their numbers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::frame;

/// Requests that may wait to be written; more make the caller wait.
const QUEUE_MAX: usize = 4096;
/// Numbers of requests stay below this: ZooKeeper uses the highest ones for itself.
const IDS: u32 = 1 << 30;

/// The connection ended before the answer came. The request may have been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection broke")]
pub(crate) struct Broken;

/// `None` once the connection has ended.
type Waiting = Arc<Mutex<Option<HashMap<u32, oneshot::Sender<Bytes>>>>>;

/// The connection; it is closed with this value.
#[derive(Debug)]
pub(crate) struct Pipe {
    queue: mpsc::Sender<Bytes>,
    waiting: Waiting,
    next: AtomicU32,
    tasks: [AbortHandle; 2],
}

impl Pipe {
    pub(crate) async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Self::over(stream)
    }

    /// Over a connection that was made and greeted already.
    pub(crate) fn over(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        // Either end of the connection ends both: what waits is told by the reader.
        let writer = tokio::spawn(frame::write_all(write, requests)).abort_handle();
        let reader = tokio::spawn(read_answers(frame::Reader::new(read), Arc::clone(&waiting)))
            .abort_handle();
        Ok(Self {
            queue,
            waiting,
            next: AtomicU32::new(0),
            tasks: [reader, writer],
        })
    }

    /// Sends a request and waits for the body of its answer.
    pub(crate) async fn call(&self, body: &[&[u8]]) -> Result<Bytes, Broken> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) % IDS;
        let (answer, answered) = oneshot::channel();
        match &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(waiting) => waiting.insert(id, answer),
            None => return Err(Broken),
        };
        let sent = self.queue.send(frame::encode(id, body)).await;
        sent.map_err(|_| Broken)?;
        answered.await.map_err(|_| Broken)
    }

    /// Sends a request with a number of its own, whose answer nobody waits for.
    pub(crate) async fn tell(&self, id: u32, body: &[&[u8]]) -> Result<(), Broken> {
        let sent = self.queue.send(frame::encode(id, body)).await;
        sent.map_err(|_| Broken)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn read_answers(
    mut answers: frame::Reader<impl tokio::io::AsyncRead + Unpin>,
    waiting: Waiting,
) {
    let lock = || waiting.lock().unwrap_or_else(PoisonError::into_inner);
    while let Ok(Some((id, body))) = answers.next().await {
        let waiter = lock().as_mut().and_then(|waiting| waiting.remove(&id));
        if let Some(waiter) = waiter {
            // It may have been given up meanwhile.
            let _ = waiter.send(body);
        }
    }
    *lock() = None;
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn answers_find_their_requests_and_an_end_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let (read, mut write) = stream.split();
            let mut requests = frame::Reader::new(read);
            let first = requests.next().await.expect("read").expect("a request");
            let second = requests.next().await.expect("read").expect("a request");
            for (id, body) in [second, first] {
                let answer = frame::encode(id, &[&body, b"!"]);
                write.write_all(&answer).await.expect("written");
            }
            requests.next().await.expect("read");
        });
        let pipe = Pipe::connect(address).await.expect("connected");
        let (a, b) = tokio::join!(pipe.call(&[b"a"]), pipe.call(&[b"b"]));
        assert_eq!(a.as_deref(), Ok(&b"a!"[..]));
        assert_eq!(b.as_deref(), Ok(&b"b!"[..]));
        assert_eq!(pipe.call(&[b"c"]).await, Err(Broken));
        server.await.expect("no panic");
    }
}
