//! SDK for Mesos v1 frameworks.
