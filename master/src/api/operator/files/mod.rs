//! Files of this master: `/files/browse`, `/files/read`, `/files/download`, `/files/debug`, and the
//! calls LIST_FILES and READ_FILE. There is one file, and only where the flag `--external-log-file`
//! names it: the log.

mod shown;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response};
use axum::routing::any;
use regency_wire::v1::master::call::{ListFiles, ReadFile};
use regency_wire::v1::master::{Response as Answer, response};
use regency_wire::{ContentType, encode, v1};
use serde::Serialize;

pub use shown::ShownFiles;
use shown::{FileError, Listed};

use super::OperatorCx;
use super::consistency::{Parameters, parameters};
use super::jsonp::Callback;
use super::refused::Refused;
use super::reply::body;

/// Bytes of a download that are read at a time.
const PIECE_BYTES: usize = 64 * 1024;

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    let browse = |State(cx): State<C>, parts: Parts| async move { browse(&cx, &parts).await };
    let read = |State(cx): State<C>, parts: Parts| async move { read(&cx, &parts).await };
    let download = |State(cx): State<C>, parts: Parts| async move { download(&cx, &parts).await };
    let debug = |State(cx): State<C>, parts: Parts| async move { debug(&cx, &parts) };
    let router = ["", ".json"].iter().fold(router, |router, suffix| {
        router
            .route(&format!("/files/browse{suffix}"), any(browse))
            .route(&format!("/files/read{suffix}"), any(read))
            .route(&format!("/files/debug{suffix}"), any(debug))
    });
    router
        .route("/files/download", any(download))
        .route("/files/download.json", any(download))
}

impl From<FileError> for Refused {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NotFound => Self::NoSuchFile,
            FileError::NotAFile(_) => Self::Malformed(error.to_string()),
            FileError::Failed { .. } => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a file was not shown"
                );
                Self::Failed("the file cannot be read")
            }
        }
    }
}

/// Does something with files on a thread that may wait for a disk.
async fn on_disk<C: OperatorCx, T: Send + 'static>(
    cx: &C,
    work: impl FnOnce(&ShownFiles) -> Result<T, FileError> + Send + 'static,
) -> Result<T, Refused> {
    let files = cx.files();
    match tokio::task::spawn_blocking(move || work(&files)).await {
        Ok(done) => Ok(done?),
        Err(error) => {
            tracing::error!(%error, "a file was not read");
            Err(Refused::Failed("the file cannot be read"))
        }
    }
}

fn path(parameters: &Parameters) -> Result<String, Refused> {
    match parameters.get("path") {
        Some(path) if !path.is_empty() => Ok(path.clone()),
        _ => Err(Refused::Malformed(
            "Expecting 'path=value' in query.".to_owned(),
        )),
    }
}

async fn browse<C: OperatorCx>(cx: &C, parts: &Parts) -> Result<Response<Body>, Refused> {
    let parameters = parameters(parts)?;
    let callback = Callback::of(&parameters)?;
    let path = path(&parameters)?;
    let listed = on_disk(cx, move |files| files.list(&path)).await?;
    Ok(callback.answer_with(&listed))
}

/// A piece of a file, for a reader of text.
#[derive(Serialize)]
struct Piece {
    offset: u64,
    data: String,
}

async fn read<C: OperatorCx>(cx: &C, parts: &Parts) -> Result<Response<Body>, Refused> {
    let parameters = parameters(parts)?;
    let callback = Callback::of(&parameters)?;
    let path = path(&parameters)?;
    let offset = number(&parameters, "offset")?;
    let length = number(&parameters, "length")?;
    // Without an offset, and where nothing is wanted, only the size is told.
    let piece = match (offset, length) {
        (None, _) | (_, Some(0)) => {
            on_disk(cx, move |files| files.size(&path))
                .await
                .map(|offset| Piece {
                    offset,
                    data: String::new(),
                })?
        }
        (Some(offset), length) => {
            let read = on_disk(cx, move |files| files.read(&path, offset, length)).await?;
            Piece {
                offset,
                data: whole_characters(&read.data),
            }
        }
    };
    Ok(callback.answer_with(&piece))
}

/// A number of bytes; `None` when it is not given, or -1 as Mesos' own pages give it.
fn number(parameters: &Parameters, name: &str) -> Result<Option<u64>, Refused> {
    match parameters.get(name).map(String::as_str) {
        None | Some("-1") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Refused::Malformed(format!("'{name}' is a number of bytes or -1, not '{text}'"))
        }),
    }
}

/// The text of a piece, without a character that is cut off at its end: readers go on behind what
/// they got.
fn whole_characters(bytes: &[u8]) -> String {
    let end = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => bytes.len(),
    };
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

async fn download<C: OperatorCx>(cx: &C, parts: &Parts) -> Result<Response<Body>, Refused> {
    let path = path(&parameters(parts)?)?;
    let opened = on_disk(cx, move |files| files.open(&path)).await?;
    let file = tokio::fs::File::from_std(opened.file);
    // As long as it is now: a log goes on growing.
    let file = tokio::io::AsyncReadExt::take(file, opened.size);
    let pieces = futures::stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE_BYTES];
        let n = tokio::io::AsyncReadExt::read(&mut file, &mut piece).await?;
        piece.truncate(n);
        Ok::<_, std::io::Error>((n > 0).then_some((piece, file)))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    let binary = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, binary);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(opened.size));
    let attachment = format!("attachment; filename={}", opened.name);
    if let Ok(attachment) = HeaderValue::from_str(&attachment) {
        headers.insert(CONTENT_DISPOSITION, attachment);
    }
    Ok(response)
}

fn debug<C: OperatorCx>(cx: &C, parts: &Parts) -> Result<Response<Body>, Refused> {
    let callback = Callback::of(&parameters(parts)?)?;
    Ok(callback.answer_with(&cx.files().places()))
}

/// Carries out LIST_FILES.
pub(super) async fn list<C: OperatorCx>(
    cx: &C,
    call: Option<ListFiles>,
    accepted: ContentType,
) -> Result<Response<Body>, Refused> {
    let path = call.map(|call| call.path).unwrap_or_default();
    let listed = on_disk(cx, move |files| files.list(&path)).await?;
    let answer = Answer {
        r#type: Some(response::Type::ListFiles as i32),
        list_files: Some(response::ListFiles {
            file_infos: listed.iter().map(Listed::to_wire).collect(),
        }),
        ..Answer::default()
    };
    Ok(body(accepted.media_type(), encode(accepted, &answer)))
}

/// Carries out READ_FILE.
pub(super) async fn read_file<C: OperatorCx>(
    cx: &C,
    call: Option<ReadFile>,
    accepted: ContentType,
) -> Result<Response<Body>, Refused> {
    let call = call.unwrap_or_default();
    let read = on_disk(cx, move |files| {
        files.read(&call.path, call.offset, call.length)
    });
    let read = read.await?;
    let answer = Answer {
        r#type: Some(response::Type::ReadFile as i32),
        read_file: Some(response::ReadFile {
            size: read.size,
            data: read.data.into(),
        }),
        ..Answer::default()
    };
    Ok(body(accepted.media_type(), encode(accepted, &answer)))
}

impl Listed {
    fn to_wire(&self) -> v1::FileInfo {
        v1::FileInfo {
            path: self.path.clone(),
            nlink: i32::try_from(self.nlink).ok(),
            size: Some(self.size),
            mtime: Some(v1::TimeInfo {
                nanoseconds: (self.mtime * 1e9) as i64,
            }),
            mode: Some(self.mode_bits),
            uid: Some(self.uid.clone()),
            gid: Some(self.gid.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_is_cut_off_is_left_for_the_next_piece() {
        let text = "aä";
        assert_eq!(whole_characters(text.as_bytes()), text);
        assert_eq!(whole_characters(&text.as_bytes()[..2]), "a");
        // What never was text is shown all the same, and does not stop the reader.
        assert_eq!(whole_characters(&[0xc3]), "\u{fffd}");
        assert_eq!(whole_characters(&[b'a', 0xff, b'b']), "a\u{fffd}b");
    }
}
