//! One server.

use super::{Fault, Progress, SOME, Topology, answers};
use crate::support::servers::{Kind, RedisServer};

impl Topology for RedisServer {
    const FAULTS: &'static [Fault] = &[];

    fn start() -> Self {
        Self::start(Kind::Valkey, &[("appendfsync", "always")])
    }

    fn url(&self) -> String {
        self.url()
    }

    fn primary(&self) -> &RedisServer {
        self
    }

    fn log(&self) -> String {
        self.log()
    }

    fn fail(&mut self, fault: Fault, progress: &Progress) {
        if fault == Fault::RedisKilled {
            self.kill9();
            answers(&progress.kept, SOME);
            self.restart();
        } else {
            self.freeze();
            answers(&progress.kept, SOME);
            self.thaw();
        }
    }
}
