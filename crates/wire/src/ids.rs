//! Ids between the wire and the domain.
//!
//! On the wire an id is any string; the domain's types hold only what Mesos accepts as one.

use regency_types::{AgentId, ExecutorId, FrameworkId, IdError, TaskId};

use crate::v1;

macro_rules! id {
    ($($id:ident),*) => {$(
        impl From<&$id> for v1::$id {
            fn from(id: &$id) -> Self {
                Self { value: id.as_str().to_owned() }
            }
        }

        impl TryFrom<&v1::$id> for $id {
            type Error = IdError;

            fn try_from(id: &v1::$id) -> Result<Self, IdError> {
                Self::new(&id.value)
            }
        }
    )*};
}

id!(AgentId, ExecutorId, FrameworkId, TaskId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_both_ways_and_bad_ones_are_refused() {
        let wire = v1::TaskId { value: "t".into() };
        let id = TaskId::try_from(&wire).expect("valid");
        assert_eq!(v1::TaskId::from(&id), wire);
        assert_eq!(
            TaskId::try_from(&v1::TaskId::default()),
            Err(IdError::Empty)
        );
    }
}
