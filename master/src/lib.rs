//! The master: API edges, queries, leader duties.
