//! Connections that were closed or refused to keep the server reachable for others.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::server::Reason;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClosedLabel {
    server: &'static str,
    reason: &'static str,
}

/// The counters of closed connections.
#[derive(Default)]
pub struct ConnectionFigures {
    closed: Family<ClosedLabel, Counter>,
}

impl ConnectionFigures {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "connections_closed",
            "Connections closed or refused to make room for others, by server and reason",
            self.closed.clone(),
        );
    }

    /// Counts a connection that was closed or refused.
    pub fn closed(&self, server: &'static str, reason: Reason) {
        let label = ClosedLabel { server, reason: reason.as_str() };
        self.closed.get_or_create(&label).inc();
    }
}
