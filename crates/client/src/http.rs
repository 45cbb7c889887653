//! Plain HTTP requests to masters, over kept-alive connections.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// How long opening a connection may take. A machine that is gone does not refuse, it is silent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer read as a whole; streams of events are bounded per record instead.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A client for requests to masters and agents by `host:port`. Clones share connections.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The address or path cannot be part of a URL.
    #[error("'{url}' is not a URL")]
    BadUrl {
        /// What was tried.
        url: String,
        /// What is wrong with it.
        #[source]
        source: http::Error,
    },
    /// No connection could be opened: the request was certainly not received.
    #[error("cannot connect to {address}")]
    Connect {
        /// Whom to.
        address: String,
        /// Why not.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// The connection was lost; the request may or may not have been received.
    #[error("connection to {address} lost")]
    Lost {
        /// Whom to.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time; the request may or may not have been received.
    #[error("no answer from {address} within {timeout_ms} ms")]
    Timeout {
        /// Who is silent.
        address: String,
        /// For how long.
        timeout_ms: u128,
    },
}

impl RequestError {
    /// Whether the other side certainly never saw the request.
    #[must_use]
    pub fn was_not_sent(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::BadUrl { .. })
    }
}

/// An answer that was read as a whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status of the answer.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text, for error messages.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

impl Default for Http {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .build(connector),
        }
    }
}

impl Http {
    /// `GET http://<address><path>`, read as a whole.
    ///
    /// # Errors
    /// When there is no answer; an answer that says "no" is not an error here.
    pub async fn get(
        &self,
        address: &str,
        path: &str,
        timeout: Duration,
    ) -> Result<Answer, RequestError> {
        self.get_with(address, path, &[], timeout).await
    }

    /// Like [`Self::get`], with headers.
    ///
    /// # Errors
    /// When there is no answer; an answer that says "no" is not an error here.
    pub async fn get_with(
        &self,
        address: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        timeout: Duration,
    ) -> Result<Answer, RequestError> {
        self.whole(Method::GET, address, path, headers, Bytes::new(), timeout)
            .await
    }

    /// `POST http://<address><path>` with a body, read as a whole.
    ///
    /// # Errors
    /// When there is no answer; an answer that says "no" is not an error here.
    pub async fn post(
        &self,
        address: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, RequestError> {
        self.whole(Method::POST, address, path, headers, body, timeout)
            .await
    }

    /// Like [`Self::post`], but gives the answer as soon as its head is there. `timeout` is for
    /// the head alone; the body may go on for ever.
    pub(crate) async fn post_for_stream(
        &self,
        address: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response<Incoming>, RequestError> {
        let request = request(Method::POST, address, path, headers, body)?;
        within(timeout, address, self.head(address, request)).await
    }

    async fn whole(
        &self,
        method: Method,
        address: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, RequestError> {
        let request = request(method, address, path, headers, body)?;
        within(timeout, address, async {
            let response = self.head(address, request).await?;
            read_whole(address, response).await
        })
        .await
    }

    async fn head(
        &self,
        address: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, RequestError> {
        self.client.request(request).await.map_err(|source| {
            let address = address.to_owned();
            if source.is_connect() {
                RequestError::Connect { address, source }
            } else {
                RequestError::Lost {
                    address,
                    source: source.into(),
                }
            }
        })
    }
}

/// Reads the rest of an answer.
pub(crate) async fn read_whole(
    address: &str,
    response: Response<Incoming>,
) -> Result<Answer, RequestError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|source| RequestError::Lost {
        address: address.to_owned(),
        source,
    })?;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.to_bytes(),
    })
}

async fn within<T>(
    timeout: Duration,
    address: &str,
    work: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or_else(|_| {
            Err(RequestError::Timeout {
                address: address.to_owned(),
                timeout_ms: timeout.as_millis(),
            })
        })
}

fn request(
    method: Method,
    address: &str,
    path: &str,
    headers: &[(&'static str, &str)],
    body: Bytes,
) -> Result<Request<Full<Bytes>>, RequestError> {
    let url = format!("http://{address}{path}");
    let mut builder = Request::builder()
        .method(method)
        .uri(&url)
        .header(HOST, address);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder
        .body(Full::new(body))
        .map_err(|source| RequestError::BadUrl { url, source })
}

/// The `host:port` that a redirect names. Mesos leaves the scheme out: `//host:port/path`.
pub(crate) fn redirected_to(headers: &HeaderMap) -> Option<String> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let after_scheme = location.split_once("//")?.1;
    let authority = after_scheme.split('/').next()?;
    (!authority.is_empty()).then(|| authority.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_names_its_target_with_and_without_a_scheme() {
        for (location, expected) in [
            ("//10.0.0.1:5050/api/v1/scheduler", Some("10.0.0.1:5050")),
            ("http://m1:5050", Some("m1:5050")),
            ("/api/v1/scheduler", None),
            ("///x", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, location.parse().unwrap());
            assert_eq!(redirected_to(&headers).as_deref(), expected, "{location}");
        }
        assert_eq!(redirected_to(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn a_refused_connection_was_not_sent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Http::default()
            .get(&address, "/", Duration::from_secs(5))
            .await
            .unwrap_err();
        assert!(error.was_not_sent(), "{error:?}");
        assert_eq!(error.to_string(), format!("cannot connect to {address}"));
    }
}
