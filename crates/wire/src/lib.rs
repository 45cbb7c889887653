//! The Mesos v1 messages, their JSON, RecordIO and conversions.
