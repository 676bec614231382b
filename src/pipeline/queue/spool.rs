//! A queue with a spool: while the queue is away, events are accepted into another one.
