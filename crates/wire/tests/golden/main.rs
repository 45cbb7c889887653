//! What passes between real clients and real masters, by shape: the literals here are our own,
//! with the members and the order of members seen in recordings of a Mesos 1.11 master.

mod answers;
mod calls;
mod errors;
mod properties;
