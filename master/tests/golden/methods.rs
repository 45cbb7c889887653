//! Methods, as Mesos takes them: whatever only reads is read with any, HEAD and OPTIONS among them; what
//! else there is takes those that it names.

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt as _;

use crate::world::{Fake, busy};

const READS: [&str; 19] = [
    "/health",
    "/version",
    "/flags",
    "/state",
    "/master/state",
    "/state-summary",
    "/slaves",
    "/frameworks",
    "/tasks",
    "/roles",
    "/redirect",
    "/metrics/snapshot",
    "/system/stats.json",
    "/logging/toggle",
    "/files/debug",
    "/files/browse?path=/",
    "/files/read?path=/master/log&offset=0",
    "/files/download?path=/master/log",
    "/allocator/offer_constraints_debug",
];

/// Paths with the methods that they take.
const OTHERS: [(&str, &str); 11] = [
    ("/api/v1", "POST"),
    ("/master/api/v1", "POST"),
    ("/teardown", "POST"),
    ("/reserve", "POST"),
    ("/unreserve", "POST"),
    ("/create-volumes", "POST"),
    ("/master/destroy-volumes", "POST"),
    ("/weights", "GET, PUT"),
    ("/quota", "GET, POST, DELETE"),
    ("/maintenance/schedule", "GET, POST"),
    ("/machine/down", "POST"),
];

async fn ask(fake: &Fake, method: &str, path: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(path);
    fake.send(request.body(Body::empty()).expect("a request"))
        .await
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    let value = response.headers().get(name)?;
    Some(value.to_str().expect("text").to_owned())
}

async fn body(response: Response<Body>) -> Vec<u8> {
    let body = response.into_body().collect().await;
    body.expect("it ends well").to_bytes().to_vec()
}

#[tokio::test]
async fn what_only_reads_is_read_with_any_method() {
    let fake = Fake::leading(&busy());
    for path in READS {
        let got = ask(&fake, "GET", path).await;
        for method in ["HEAD", "OPTIONS", "POST", "PUT", "BREW"] {
            let other = ask(&fake, method, path).await;
            assert_eq!(other.status(), got.status(), "{method} {path}");
            for name in ["content-type", "location"] {
                assert_eq!(header(&other, name), header(&got, name), "{method} {path}");
            }
            if method == "HEAD" {
                let length = header(&other, "content-length");
                assert_eq!(body(other).await, b"", "{path}");
                let has_body = got.status() == 200 && path != "/health";
                let is_told = length.is_some_and(|length| length != "0");
                assert!(is_told || !has_body, "HEAD {path} tells no length");
            }
        }
    }
}

#[tokio::test]
async fn what_takes_some_methods_names_them_to_all_others() {
    let fake = Fake::leading(&busy());
    for (path, allow) in OTHERS {
        let taken: Vec<&str> = allow.split(", ").collect();
        for method in ["GET", "HEAD", "OPTIONS", "PATCH", "BREW"] {
            if taken.contains(&method) {
                continue;
            }
            let refused = ask(&fake, method, path).await;
            assert_eq!(refused.status(), 405, "{method} {path}");
            assert_eq!(header(&refused, "allow").as_deref(), Some(allow), "{path}");
            let words = String::from_utf8(body(refused).await).expect("text");
            let named = format!("but received '{method}'.");
            assert!(method == "HEAD" || words.ends_with(&named), "{words}");
        }
    }
}
