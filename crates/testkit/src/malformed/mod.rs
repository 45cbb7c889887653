//! Requests with exactly one thing wrong in them, drawn from a seed.
//!
//! What is wrong is wrong for certain, so the answer to it is known: a status from 400 to 499, with
//! words that name what is wrong. What real clients do and Mesos takes (a number as text, a single
//! value where a list is due, `null`, unknown keys, an unknown name in an optional enum) is therefore
//! never made here.

mod binary;
pub mod calls;
mod json;
mod web;

use regency_wire::Shape;

use crate::Rng;

/// A request, as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its path with the query.
    pub path: String,
    /// Its headers; lower-case names.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// What a body is.
#[derive(Debug, Clone)]
pub enum Content {
    /// A message in both encodings.
    Message {
        /// What of it is required.
        shape: &'static Shape,
        /// In JSON; numbers with a fraction are written with one.
        json: String,
        /// In binary.
        binary: Vec<u8>,
    },
    /// JSON: an object, or a list of objects.
    Json {
        /// A valid one.
        json: String,
        /// What is required of the message it is, or of each in the list.
        shape: Option<&'static Shape>,
        /// Keys that the outermost object must have, where there is no shape.
        required: &'static [&'static str],
        /// Whether the type of the body must be given.
        typed: bool,
    },
    /// A form: fields that all are required, with a valid value. One that begins with `[` is a list
    /// of messages of this shape.
    Form(Vec<(&'static str, String)>, Option<&'static Shape>),
    /// There is no body, or nobody looks at it.
    Nothing,
}

/// A valid request, of which others are made.
#[derive(Debug, Clone)]
pub struct Valid {
    /// What it is, for people.
    pub name: String,
    /// Methods that are taken; the first one is that of a body.
    pub methods: &'static [&'static str],
    /// Methods that are taken for something else.
    pub other_methods: &'static [&'static str],
    /// Paths that mean the same.
    pub paths: Vec<String>,
    /// Headers beside the type of the body; lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub content: Content,
    /// Parameters of the query, and values that they must not have.
    pub parameters: &'static [(&'static str, &'static [&'static str])],
    /// Headers, values that they must not have (an empty one: that it is not there), and the word that
    /// the answer has for it.
    pub bad_headers: Vec<(&'static str, &'static str, &'static str)>,
    /// What the last part of the path must not have in it.
    pub bad_segments: &'static [&'static str],
    /// Length of a body that is too long, where there is a bound.
    pub too_long: Option<usize>,
}

/// A request with one thing wrong, and what the answer must say.
#[derive(Debug, Clone)]
pub struct Malformed {
    /// The request.
    pub request: Request,
    /// What is wrong, for people.
    pub how: String,
    /// One of these is in the answer, in whatever case.
    pub names: Vec<String>,
}

/// A body with one thing wrong.
struct Wrong {
    body: Vec<u8>,
    how: String,
    names: Vec<String>,
}

impl Wrong {
    fn new(body: impl Into<Vec<u8>>, how: impl Into<String>, names: &[&str]) -> Self {
        Self {
            body: body.into(),
            how: how.into(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

impl Valid {
    /// The request as it should be.
    #[must_use]
    pub fn unharmed(&self) -> Request {
        web::whole(self, &mut Rng::new(0))
    }

    /// One of the requests that can be made of it.
    #[must_use]
    pub fn malform(&self, rng: &mut Rng) -> Malformed {
        let may_be_web = !self.parameters.is_empty()
            || !self.bad_headers.is_empty()
            || !self.bad_segments.is_empty();
        let only_web = matches!(self.content, Content::Nothing);
        match rng.below(100) {
            // Often enough to see all of them, and mostly what is in the body.
            0..=3 => web::method(self, rng),
            4..=6 if self.too_long.is_some() && !only_web => web::too_long(self),
            7..=19 if may_be_web && !only_web => web::around(self, rng),
            _ if only_web && may_be_web => web::around(self, rng),
            _ if only_web => web::method(self, rng),
            _ => self.body(rng),
        }
    }

    fn body(&self, rng: &mut Rng) -> Malformed {
        match &self.content {
            Content::Message {
                shape,
                json,
                binary,
            } => match rng.below(10) {
                0..=6 => {
                    let wrong = json::wrong(rng, json, Some(*shape), &[]);
                    self.with(rng, JSON, wrong)
                }
                7..=8 => {
                    let wrong = binary::wrong(rng, binary, shape);
                    self.with(rng, PROTOBUF, wrong)
                }
                _ => web::content_type(self, rng, json),
            },
            Content::Json {
                json,
                shape,
                required,
                typed,
            } => match rng.below(10) {
                0 if *typed => web::content_type(self, rng, json),
                _ => {
                    let wrong = json::wrong(rng, json, *shape, required);
                    self.with(rng, JSON, wrong)
                }
            },
            Content::Form(fields, shape) => {
                let wrong = web::form(rng, fields, *shape);
                self.with(rng, FORM, wrong)
            }
            Content::Nothing => web::method(self, rng),
        }
    }

    fn with(&self, rng: &mut Rng, content_type: &str, wrong: Wrong) -> Malformed {
        let mut request = self.request(rng);
        let header = ("content-type".to_owned(), content_type.to_owned());
        request.headers.push(header);
        request.body = wrong.body;
        Malformed {
            request,
            how: wrong.how,
            names: wrong.names,
        }
    }

    /// The request without a body and its type.
    fn request(&self, rng: &mut Rng) -> Request {
        let method = match self.content {
            Content::Nothing => one_of(rng, self.methods),
            _ => &self.methods[0],
        };
        Request {
            method: (*method).to_owned(),
            path: one_of(rng, &self.paths).clone(),
            headers: self.headers.clone(),
            body: Vec::new(),
        }
    }
}

impl Malformed {
    /// Whether this is an answer to it.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, status: u16, answer: &str) -> Result<(), String> {
        if !(400..500).contains(&status) {
            return Err(format!("the status is {status}: {answer}"));
        }
        let answer = answer.to_lowercase();
        if self
            .names
            .iter()
            .any(|name| answer.contains(&name.to_lowercase()))
        {
            return Ok(());
        }
        Err(format!("{status} with none of {:?}: {answer}", self.names))
    }
}

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const FORM: &str = "application/x-www-form-urlencoded";

/// One of them.
///
/// # Panics
/// When there are none.
fn one_of<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    rng.pick(from).expect("there is something to choose from")
}

#[cfg(test)]
mod tests {
    use regency_wire::v1::scheduler::Call;
    use regency_wire::{ContentType, WireMessage as _, decode, encode, validate};

    use super::*;

    const CALL: &str = r#"{"framework_id":{"value":"f"},"type":"ACKNOWLEDGE","acknowledge":{
        "agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"AAECAwQFBgcICQoLDA0ODw=="}}"#;

    fn valid() -> Valid {
        let call: Call = decode(ContentType::Json, CALL.as_bytes()).expect("a call");
        Valid {
            name: "ACKNOWLEDGE".into(),
            methods: &["POST"],
            other_methods: &[],
            paths: vec!["/a".into()],
            headers: Vec::new(),
            content: Content::Message {
                shape: Call::shape(),
                json: CALL.into(),
                binary: encode(ContentType::Protobuf, &call).to_vec(),
            },
            parameters: &[],
            bad_headers: Vec::new(),
            bad_segments: &[],
            too_long: None,
        }
    }

    /// The decoders know what is wrong, so each body made here must be refused by them.
    #[test]
    fn each_is_refused_with_what_is_wrong() {
        let mut rng = Rng::new(1);
        let mut hows = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let made = valid().malform(&mut rng);
            hows.insert(made.how.split(' ').next().unwrap_or_default().to_owned());
            let header = |name: &str| {
                let of = made.request.headers.iter().find(|(n, _)| n == name);
                of.map(|(_, value)| value.as_str())
            };
            let Ok(content_type) = ContentType::of_request(header("content-type")) else {
                continue;
            };
            if made.request.method != "POST" {
                continue;
            }
            let error = match decode::<Call>(content_type, &made.request.body) {
                Err(error) => error.to_string(),
                Ok(call) => match validate::scheduler::check(&call, None) {
                    Err(error) => error.to_string(),
                    Ok(_) => panic!("{made:?} is no wrong call"),
                },
            };
            made.judge(400, &error)
                .unwrap_or_else(|why| panic!("{made:?}: {why}"));
        }
        assert!(hows.len() >= 8, "{hows:?}");
    }

    #[test]
    fn a_wrong_answer_is_noticed() {
        let mut rng = Rng::new(1);
        let made = valid().malform(&mut rng);
        for (status, answer) in [
            (200, "x"),
            (500, "x"),
            (302, "x"),
            (400, "something is wrong"),
        ] {
            assert!(made.judge(status, answer).is_err(), "{status} {answer}");
        }
        assert_eq!(made.judge(422, &made.names[0]), Ok(()));
    }
}
