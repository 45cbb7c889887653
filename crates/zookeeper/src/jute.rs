//! How ZooKeeper writes values: big-endian numbers, and strings and buffers behind their length,
//! which is -1 where there is none.

use bytes::{Buf, BufMut};

/// A request that ends too early, has a length that cannot be, or text that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed request")]
pub(crate) struct Malformed;

/// Takes values off the front of a request.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.0.try_get_i32().map_err(|_| Malformed)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.0.try_get_i64().map_err(|_| Malformed)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.0.try_get_u8().map_err(|_| Malformed)? != 0)
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A buffer; none is as good as an empty one.
    pub(crate) fn buffer(&mut self) -> Result<&'a [u8], Malformed> {
        let length = match self.i32()? {
            -1 => 0,
            length => usize::try_from(length).map_err(|_| Malformed)?,
        };
        self.0.split_off(..length).ok_or(Malformed)
    }

    pub(crate) fn string(&mut self) -> Result<String, Malformed> {
        let text = std::str::from_utf8(self.buffer()?).map_err(|_| Malformed)?;
        Ok(text.to_owned())
    }

    pub(crate) fn strings(&mut self) -> Result<Vec<String>, Malformed> {
        // Nothing is reserved for the count: it is only a claim.
        (0..self.i32()?.max(0)).map(|_| self.string()).collect()
    }
}

/// Collects the values of a reply.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn i32(&mut self, value: i32) {
        self.0.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.0.put_i64(value);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.0.put_u8(u8::from(value));
    }

    pub(crate) fn buffer(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.put_slice(bytes);
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.buffer(text.as_bytes());
    }

    pub(crate) fn strings(&mut self, all: &[String]) {
        self.count(all.len());
        for text in all {
            self.string(text);
        }
    }

    fn count(&mut self, n: usize) {
        self.i32(i32::try_from(n).expect("replies are far smaller than 2 GiB"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.i32(-7);
        writer.i64(i64::MAX);
        writer.bool(true);
        writer.buffer(&[1, 2]);
        writer.strings(&["a".into(), String::new()]);
        let mut reader = Reader(&writer.0);
        assert_eq!(reader.i32(), Ok(-7));
        assert_eq!(reader.i64(), Ok(i64::MAX));
        assert_eq!(reader.bool(), Ok(true));
        assert_eq!(reader.buffer(), Ok(&[1, 2][..]));
        assert_eq!(reader.strings(), Ok(vec!["a".into(), String::new()]));
        assert!(reader.is_empty());
    }

    #[test]
    fn no_string_is_an_empty_one_and_bad_lengths_are_refused() {
        assert_eq!(Reader(&[255; 4]).string(), Ok(String::new()));
        assert_eq!(Reader(&[0, 0, 0, 2, b'a']).string(), Err(Malformed));
        assert_eq!(Reader(&[255, 255, 255, 0]).string(), Err(Malformed));
        assert_eq!(Reader(&[0, 0, 0, 1, 200]).string(), Err(Malformed));
        assert_eq!(Reader(&[127, 255, 255, 255]).strings(), Err(Malformed));
        assert_eq!(Reader(&[1]).i64(), Err(Malformed));
    }
}
