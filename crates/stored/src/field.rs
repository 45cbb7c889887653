//! Conversions of single fields.

use bytes::Bytes;
use regency_types::{IdError, OfferId, TaskState};

use crate::StoredError;

/// A type of the domain that has a stored form.
pub(crate) trait Stored: Sized {
    /// The generated message.
    type Message;

    fn store(&self) -> Self::Message;

    fn load(message: Self::Message) -> Result<Self, StoredError>;
}

pub(crate) fn store_all<'a, T: Stored + 'a>(
    all: impl IntoIterator<Item = &'a T>,
) -> Vec<T::Message> {
    all.into_iter().map(Stored::store).collect()
}

pub(crate) fn load_all<T: Stored, C: FromIterator<T>>(
    messages: Vec<T::Message>,
) -> Result<C, StoredError> {
    messages.into_iter().map(T::load).collect()
}

/// A submessage that is always written.
pub(crate) fn required<T>(message: Option<T>, field: &'static str) -> Result<T, StoredError> {
    message.ok_or_else(|| StoredError::malformed(field, "it is missing"))
}

/// The chosen one of a oneof.
pub(crate) fn chosen<T>(choice: Option<T>, what: &'static str) -> Result<T, StoredError> {
    choice.ok_or(StoredError::Unknown { what })
}

/// An id in text form.
pub(crate) fn id<T: TryFrom<String, Error = IdError>>(
    text: String,
    field: &'static str,
) -> Result<T, StoredError> {
    T::try_from(text).map_err(|e| StoredError::malformed(field, e))
}

pub(crate) fn optional_id<T: TryFrom<String, Error = IdError>>(
    text: Option<String>,
    field: &'static str,
) -> Result<Option<T>, StoredError> {
    text.map(|text| id(text, field)).transpose()
}

/// An identity of 128 bits.
pub(crate) fn store_u128(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

pub(crate) fn load_u128(bytes: &[u8], field: &'static str) -> Result<u128, StoredError> {
    bytes.try_into().map(u128::from_be_bytes).map_err(|_| {
        StoredError::malformed(field, format!("it has {} bytes instead of 16", bytes.len()))
    })
}

/// The number of a task state, beginning with 1.
pub(crate) fn store_task_state(state: TaskState) -> u32 {
    state.number().unsigned_abs() + 1
}

pub(crate) fn load_task_state(number: u32, field: &'static str) -> Result<TaskState, StoredError> {
    optional_task_state(number, field)?
        .ok_or_else(|| StoredError::malformed(field, "it is missing"))
}

/// Like [`load_task_state`]; 0 stands for none.
pub(crate) fn optional_task_state(
    number: u32,
    field: &'static str,
) -> Result<Option<TaskState>, StoredError> {
    let Some(number) = number.checked_sub(1) else {
        return Ok(None);
    };
    i32::try_from(number)
        .ok()
        .and_then(TaskState::from_number)
        .map(Some)
        .ok_or(StoredError::Unknown { what: field })
}

pub(crate) fn store_offer_ids(offers: &[OfferId]) -> Vec<u64> {
    offers.iter().map(|o| o.0).collect()
}

pub(crate) fn load_offer_ids(offers: Vec<u64>) -> Vec<OfferId> {
    offers.into_iter().map(OfferId).collect()
}
