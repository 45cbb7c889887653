//! `/files/browse`, `/files/read`, `/files/download` and `/files/debug`.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use regency_wire::v1;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Opened, place};
use crate::http::Answers;
use crate::metrics;
use crate::operator::model;
use crate::operator::reply::{Parameters, json_answer};
use crate::refused::Refused;

/// Bytes of a download that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks read ahead of what the client takes.
const CHUNKS_AHEAD: usize = 4;

fn path(parameters: &Parameters) -> Result<&String, Refused> {
    let path = parameters.get("path").filter(|path| !path.is_empty());
    path.ok_or_else(|| Refused::bad("Expecting 'path=value' in query."))
}

pub(crate) async fn browse(
    State(answers): State<Arc<Answers>>,
    Query(parameters): Query<Parameters>,
) -> Result<Response<Body>, Refused> {
    let path = path(&parameters)?.clone();
    let files = Arc::clone(&answers.files);
    let listed = answers.at_leisure(move || files.list(&path)).await??;
    let shown: Vec<Json> = listed.iter().map(shown).collect();
    json_answer(&parameters, &json!(shown))
}

fn shown(info: &v1::FileInfo) -> Json {
    let seconds = info.mtime.as_ref().map_or(0, |time| time.nanoseconds) / 1_000_000_000;
    json!({
        "path": info.path,
        "nlink": info.nlink,
        "size": info.size,
        "mtime": seconds as f64,
        "mode": mode(info.mode.unwrap_or(0)),
        "uid": info.uid,
        "gid": info.gid,
    })
}

/// As `ls -l` writes it.
fn mode(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o020_000 => 'c',
        0o060_000 => 'b',
        _ => '-',
    };
    let bits = (0..9).map(|bit| match mode & (0o400 >> bit) {
        0 => '-',
        _ => ['r', 'w', 'x'][bit % 3],
    });
    std::iter::once(kind).chain(bits).collect()
}

pub(crate) async fn read(
    State(answers): State<Arc<Answers>>,
    Query(parameters): Query<Parameters>,
) -> Result<Response<Body>, Refused> {
    let path = path(&parameters)?.clone();
    // -1 stands for none of both; the offset is -1 when it is not said.
    let offset = number(&parameters, "offset")?;
    let length = number(&parameters, "length")?;
    let files = Arc::clone(&answers.files);
    let wanted = offset.filter(|_| length != Some(0));
    let part = answers.at_leisure(move || files.read(&path, wanted, length));
    let part = part.await??;
    let told = match wanted {
        None => part.size,
        Some(offset) => offset,
    };
    // Bytes that are no text cannot be said in JSON; READ_FILE has them all.
    let data = String::from_utf8_lossy(&part.data);
    json_answer(&parameters, &json!({"offset": told, "data": data}))
}

fn number(parameters: &Parameters, name: &str) -> Result<Option<u64>, Refused> {
    match parameters.get(name).map(String::as_str) {
        None | Some("-1") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Refused::bad(format!("'{name}' is a number of bytes or -1, not '{text}'"))
        }),
    }
}

pub(crate) async fn download(
    State(answers): State<Arc<Answers>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Response<Body>, Refused> {
    let path = path(&parameters)?.clone();
    let permit = Arc::clone(&answers.files.downloads).try_acquire_owned();
    let permit = permit.map_err(|_| {
        Refused::full("as many downloads as --files-downloads-max allows are under way; try later")
    })?;
    let (files, wanted) = (Arc::clone(&answers.files), path.clone());
    let Opened { mut file, size } = answers.at_leisure(move || files.open(&wanted)).await??;
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
    let (status, start, end) = match range.map(|range| parse_range(range, size)) {
        // A range that is none is ignored (RFC 9110).
        None | Some(None) => (StatusCode::OK, 0, size),
        Some(Some(Ok((start, end)))) => (StatusCode::PARTIAL_CONTENT, start, end),
        Some(Some(Err(Unsatisfiable))) => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            set(&mut response, CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        }
    };
    let (chunks, body) = mpsc::channel::<std::io::Result<Bytes>>(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let mut left = end - start;
        if let Err(error) = file.seek(SeekFrom::Start(start)) {
            let _ = chunks.blocking_send(Err(error));
            return;
        }
        while left > 0 {
            let want = left.min(CHUNK_BYTES as u64);
            let mut chunk = Vec::new();
            let read = (&mut file).take(want).read_to_end(&mut chunk);
            // A file that became shorter cannot be sent as was announced.
            let chunk = match read {
                Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => Ok(Bytes::from(chunk)),
                Err(error) => Err(error),
            };
            let sent = chunk.as_ref().map_or(0, Bytes::len) as u64;
            ::metrics::counter!(metrics::FILE_BYTES_TOTAL).increment(sent);
            let failed = chunk.is_err();
            if chunks.blocking_send(chunk).is_err() || failed {
                return;
            }
            left -= sent;
        }
    });
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(body)));
    *response.status_mut() = status;
    let name = path.rsplit('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ';
    let name: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    set(&mut response, CONTENT_TYPE, "application/octet-stream");
    set(&mut response, ACCEPT_RANGES, "bytes");
    set(&mut response, CONTENT_LENGTH, &(end - start).to_string());
    set(
        &mut response,
        CONTENT_DISPOSITION,
        &format!("attachment; filename=\"{name}\""),
    );
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{size}", end - 1);
        set(&mut response, CONTENT_RANGE, &range);
    }
    Ok(response)
}

fn set(response: &mut Response<Body>, name: axum::http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// No byte of the range is in the file.
#[derive(Debug, PartialEq, Eq)]
struct Unsatisfiable;

/// The one range that is asked for, its end excluded. `None` when it is none, or more than one.
fn parse_range(text: &str, size: u64) -> Option<Result<(u64, u64), Unsatisfiable>> {
    let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
    let (start, end) = match (first.trim(), last.trim()) {
        ("", suffix) => {
            let suffix: u64 = suffix.parse().ok()?;
            (size.saturating_sub(suffix), size)
        }
        (first, "") => (first.parse().ok()?, size),
        (first, last) => {
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(size))
        }
    };
    Some(if start < end {
        Ok((start, end))
    } else {
        Err(Unsatisfiable)
    })
}

pub(crate) async fn debug(
    State(answers): State<Arc<Answers>>,
    Query(parameters): Query<Parameters>,
) -> Result<Response<Body>, Refused> {
    let view = answers.look().await?;
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    if let Some(log) = &answers.files.log {
        shown.insert(place::LOG.to_owned(), log.display().to_string());
    }
    for (framework, has) in model::frameworks(&view, &answers.paths) {
        for executor in has.completed.iter().chain(&has.executors) {
            let real = executor.directory.display().to_string();
            let id = &executor.info.executor_id.value;
            let name = format!("/frameworks/{framework}/executors/{id}/runs/latest");
            shown.insert(name, real.clone());
            shown.insert(real.clone(), real);
        }
    }
    json_answer(&parameters, &json!(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        for (text, expect) in [
            ("bytes=0-3", Some(Ok((0, 4)))),
            ("bytes=2-", Some(Ok((2, 10)))),
            ("bytes=-3", Some(Ok((7, 10)))),
            ("bytes=-30", Some(Ok((0, 10)))),
            ("bytes=5-500", Some(Ok((5, 10)))),
            ("bytes=10-", Some(Err(Unsatisfiable))),
            ("bytes=-0", Some(Err(Unsatisfiable))),
            ("bytes=3-1", None),
            ("bytes=0-1,4-5", None),
            ("lines=0-1", None),
            ("bytes=a-b", None),
        ] {
            assert_eq!(parse_range(text, 10), expect, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Some(Err(Unsatisfiable)));
    }

    #[test]
    fn modes_are_written_as_ls_writes_them() {
        assert_eq!(mode(0o100_644), "-rw-r--r--");
        assert_eq!(mode(0o040_755), "drwxr-xr-x");
        assert_eq!(mode(0o120_777), "lrwxrwxrwx");
    }
}
