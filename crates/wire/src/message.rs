//! What every message of the wire can do, whichever encoding it travels in.

use serde::de::MapAccess;
use serde::ser::SerializeMap;

use crate::json::{Context, Seen};
use crate::required::Shape;

/// A message of the Mesos v1 API.
///
/// Implemented by generated code only. Use [`crate::decode`] and [`crate::encode`]; the methods
/// here are what they are made of.
pub trait WireMessage:
    prost::Message + std::fmt::Debug + Clone + PartialEq + Default + 'static
{
    /// Name without package and parents, such as `Call`; part of Mesos' error texts.
    const NAME: &'static str;

    /// Which fields are required, for the check of the binary encoding.
    #[doc(hidden)]
    fn shape() -> &'static Shape;

    /// Reads the value of one key of a JSON object; unknown keys are skipped.
    #[doc(hidden)]
    fn read_field<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        seen: &mut Seen,
        cx: &mut Context,
    ) -> Result<(), A::Error>;

    /// Writes the fields into a JSON object.
    #[doc(hidden)]
    fn write_fields<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;
}

/// An enum of the Mesos v1 API.
pub(crate) trait WireEnum {
    /// The number behind a name; the older API's `SLAVE` counts as `AGENT`.
    fn number_of(name: &str) -> Option<i32>;

    /// The name of a number.
    fn name_of(number: i32) -> Option<&'static str>;

    /// Whether the number belongs to the enum.
    fn is_known(number: i32) -> bool {
        Self::name_of(number).is_some()
    }
}

#[cfg(test)]
mod tests {
    use crate::v1::{NetworkInfo, Offer, Resource, TaskInfo, TaskStatus, offer};

    /// An element of a list takes a few bytes on the wire; what it takes in memory is what a
    /// hostile body is multiplied by. Large fields that are seldom set are boxed (`build.rs`).
    #[test]
    fn elements_of_lists_stay_small() {
        assert!(size_of::<offer::Operation>() <= 256);
        assert!(size_of::<TaskInfo>() <= 1024);
        assert!(size_of::<Resource>() <= 640);
        assert!(size_of::<Offer>() <= 512);
        assert!(size_of::<TaskStatus>() <= 512);
        assert!(size_of::<NetworkInfo>() <= 256);
    }
}
