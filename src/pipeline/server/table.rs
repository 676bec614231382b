//! The open connections of a server: which get a slot, and which are closed to make room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::connection::{Connection, Rank, Shared};

/// Slots beyond the limit in which `GET /health` and `GET /ready` are answered while all regular
/// slots are busy.
pub const RESERVED: usize = 16;
/// Connections that were asked to close and have not done so yet. With more, new ones wait.
pub const MAX_CLOSING: usize = 64;
/// The fraction of connections that are selected together to be closed next, so that not every new
/// connection requires a look at all of them.
const CHOSEN_SHARE: usize = 64;

/// Bounds on the open connections of a server.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Regular slots.
    pub most: usize,
    /// The most of them for one IPv4 address or IPv6 network of 64 bits.
    pub most_per_address: usize,
    /// Whether there are [`RESERVED`] slots as well.
    pub has_reserve: bool,
}

/// The result of requesting a slot.
#[derive(Debug)]
pub enum Admission {
    /// It has one.
    Open(Arc<Connection>),
    /// Its address has too many connections, all of them with a request in progress.
    Refused,
    /// None is free yet.
    Wait,
}

/// Why connections were closed; a label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The server had no free slot.
    Full,
    /// Their address had too many.
    Address,
}

impl Reason {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Address => "address",
        }
    }
}

/// The open connections; used by the accept loop only.
pub(super) struct Table<F> {
    limits: ConnectionLimits,
    shared: Arc<Shared>,
    next_id: u64,
    open: HashMap<u64, Arc<Connection>>,
    /// Those with a limited number by address, without the closing ones.
    by_network: HashMap<IpAddr, Vec<Arc<Connection>>>,
    /// Those in reserved slots, without the closing ones, oldest first.
    reserved: Vec<Arc<Connection>>,
    /// To be closed next, from the last one on.
    chosen: Vec<(Rank, Arc<Connection>)>,
    closing: usize,
    /// Called for each connection that is closed or refused.
    count: F,
}

impl<F: Fn(Reason)> Table<F> {
    pub(super) fn new(limits: ConnectionLimits, count: F) -> Self {
        Self {
            limits,
            shared: Arc::default(),
            next_id: 0,
            open: HashMap::new(),
            by_network: HashMap::new(),
            reserved: Vec::new(),
            chosen: Vec::new(),
            closing: 0,
            count,
        }
    }

    /// Connections in regular slots.
    pub(super) fn regular(&self) -> usize {
        self.open.len() - self.closing - self.reserved.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.regular() >= self.limits.most
    }

    /// Whether connections in reserved slots wait for a regular one.
    pub(super) fn has_reserved(&self) -> bool {
        !self.reserved.is_empty()
    }

    /// Finds a slot for a connection from `address`. A trusted proxy has the connections of many
    /// visitors, so their number is not limited.
    pub(super) fn admit(&mut self, address: IpAddr, is_proxy: bool) -> Admission {
        if self.closing >= MAX_CLOSING {
            return Admission::Wait;
        }
        let address = address.to_canonical();
        let is_limited = !address.is_loopback() && !is_proxy;
        let network = is_limited.then(|| network(address));
        if let Some(own) = network.and_then(|network| self.by_network.get(&network))
            && own.len() >= self.limits.most_per_address
        {
            let Some(longest) = close_longest_waiting(own) else {
                (self.count)(Reason::Address);
                return Admission::Refused;
            };
            self.closes(&longest, Reason::Address);
        }
        if self.make_room() {
            let connection = self.add(network);
            connection.admit();
            return Admission::Open(connection);
        }
        if !self.limits.has_reserve {
            return Admission::Wait;
        }
        if self.reserved.len() >= RESERVED {
            let Some(longest) = close_longest_waiting(&self.reserved) else {
                return Admission::Wait;
            };
            self.closes(&longest, Reason::Full);
        }
        let connection = self.add(network);
        self.reserved.push(Arc::clone(&connection));
        Admission::Open(connection)
    }

    /// Moves connections in reserved slots to regular ones, as far as there are any.
    pub(super) fn promote(&mut self) {
        while !self.reserved.is_empty() && self.closing < MAX_CLOSING && self.make_room() {
            self.reserved.remove(0).admit();
        }
        self.measure();
    }

    /// Closes the connection that has waited the longest, whether the server is full or not.
    pub(super) fn relieve(&mut self) {
        self.close_chosen();
    }

    /// Removes a connection that has ended.
    pub(super) fn remove(&mut self, id: u64) {
        let Some(connection) = self.open.remove(&id) else { return };
        if connection.is_closing() {
            self.closing -= 1;
        } else {
            self.forget(&connection);
        }
        self.measure();
    }

    fn add(&mut self, network: Option<IpAddr>) -> Arc<Connection> {
        let connection = Arc::new(Connection::new(&self.shared, self.next_id, network));
        self.next_id += 1;
        self.open.insert(connection.id, Arc::clone(&connection));
        if let Some(network) = network {
            self.by_network.entry(network).or_default().push(Arc::clone(&connection));
        }
        self.measure();
        connection
    }

    /// Whether there is a regular slot; if all are taken, the connection that has waited the
    /// longest is closed.
    fn make_room(&mut self) -> bool {
        !self.is_full() || self.close_chosen()
    }

    /// Closes the connection that has waited the longest; returns whether there was one.
    fn close_chosen(&mut self) -> bool {
        if self.close_next() {
            return true;
        }
        self.choose();
        self.close_next()
    }

    /// Closes the next chosen connection that still waits since it was chosen.
    fn close_next(&mut self) -> bool {
        while let Some((rank, connection)) = self.chosen.pop() {
            if self.open.contains_key(&connection.id) && connection.close(rank) {
                self.closes(&connection, Reason::Full);
                return true;
            }
        }
        false
    }

    fn choose(&mut self) {
        let waiting = self.open.values().filter(|connection| connection.is_admitted());
        self.chosen = waiting.filter_map(|one| Some((one.rank()?, Arc::clone(one)))).collect();
        let share = self.chosen.len().div_ceil(CHOSEN_SHARE);
        if share < self.chosen.len() {
            self.chosen.select_nth_unstable_by_key(share, |(rank, _)| *rank);
            self.chosen.truncate(share);
        }
        self.chosen.sort_unstable_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    }

    /// Records that a connection was asked to close.
    fn closes(&mut self, connection: &Arc<Connection>, reason: Reason) {
        self.closing += 1;
        self.forget(connection);
        (self.count)(reason);
    }

    /// Removes it from everything but the open ones.
    fn forget(&mut self, connection: &Arc<Connection>) {
        self.reserved.retain(|one| one.id != connection.id);
        let Some(network) = connection.network else { return };
        let Some(own) = self.by_network.get_mut(&network) else { return };
        if let Some(place) = own.iter().position(|one| one.id == connection.id) {
            own.swap_remove(place);
        }
        if own.is_empty() {
            self.by_network.remove(&network);
        }
    }

    /// Pressure begins at three quarters of the slots and ends at half of them.
    fn measure(&self) {
        let (open, most) = (self.regular(), self.limits.most);
        if open >= most - most / 4 {
            self.shared.pressed.store(true, Relaxed);
        } else if open <= most / 2 {
            self.shared.pressed.store(false, Relaxed);
        }
    }
}

/// Closes the one that has waited the longest; `None` if all of them are busy.
fn close_longest_waiting(connections: &[Arc<Connection>]) -> Option<Arc<Connection>> {
    loop {
        let waiting = connections.iter().filter_map(|one| Some((one.rank()?, one)));
        let (rank, longest) = waiting.min_by_key(|(rank, _)| *rank)?;
        if longest.close(rank) {
            return Some(Arc::clone(longest));
        }
    }
}

/// What counts as one address: a customer has many IPv6 addresses, but usually one /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use super::*;

    const LIMITS: ConnectionLimits =
        ConnectionLimits { most: 8, most_per_address: 3, has_reserve: true };

    fn table(limits: ConnectionLimits, counted: &RefCell<Vec<Reason>>) -> Table<impl Fn(Reason)> {
        Table::new(limits, |reason| counted.borrow_mut().push(reason))
    }

    fn open(table: &mut Table<impl Fn(Reason)>, address: &str) -> Arc<Connection> {
        match table.admit(address.parse().unwrap(), false) {
            Admission::Open(connection) => connection,
            other => panic!("{other:?}"),
        }
    }

    async fn pass() {
        tokio::time::advance(Duration::from_secs(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_server_closes_the_connection_that_has_waited_the_longest() {
        let counted = RefCell::default();
        let mut table = table(LIMITS, &counted);
        let mut all = Vec::new();
        for _ in 0..8 {
            all.push(open(&mut table, "127.0.0.1"));
            pass().await;
        }
        // The first is in a request, the second has sent events, the third was just answered.
        let request = all[0].begin();
        let mut requests = Vec::new();
        all[1].prove();
        drop(all[2].begin());
        for closed in [3, 4, 5, 6, 7, 2, 1] {
            requests.push(open(&mut table, "127.0.0.1").begin());
            assert!(all[closed].is_closing(), "{closed}");
            table.remove(all[closed].id);
            assert_eq!(table.regular(), 8);
        }
        assert!(!all[0].is_closing(), "its request is in progress");
        assert_eq!(counted.borrow().as_slice(), [Reason::Full; 7]);
        // All are busy: now there is the reserve.
        let reserved = open(&mut table, "127.0.0.1");
        assert!(!reserved.is_admitted() && table.has_reserved());
        drop(request);
        table.promote();
        assert!(reserved.is_admitted() && all[0].is_closing() && !table.has_reserved());
    }

    #[tokio::test(start_paused = true)]
    async fn the_reserve_is_bounded_and_closes_its_longest_waiting() {
        let counted = RefCell::default();
        let mut table = table(ConnectionLimits { most: 1, ..LIMITS }, &counted);
        let busy = open(&mut table, "127.0.0.1").begin();
        let reserved: Vec<_> = (0..RESERVED).map(|_| open(&mut table, "127.0.0.1")).collect();
        let requests: Vec<_> = reserved.iter().skip(1).map(Connection::begin).collect();
        let another = open(&mut table, "127.0.0.1");
        assert!(reserved[0].is_closing());
        let another = another.begin();
        assert!(matches!(table.admit([127, 0, 0, 1].into(), false), Admission::Wait));
        drop((busy, requests, another));
        let mut without =
            self::table(ConnectionLimits { has_reserve: false, most: 1, ..LIMITS }, &counted);
        let _busy = open(&mut without, "127.0.0.1").begin();
        assert!(matches!(without.admit([127, 0, 0, 1].into(), false), Admission::Wait));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_gets_only_its_share_of_the_slots() {
        let counted = RefCell::default();
        let mut table = table(LIMITS, &counted);
        // The host part of an IPv6 address does not make it another one.
        for addresses in
            [["192.0.2.1"; 4], ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"]]
        {
            let own: Vec<_> = addresses[..3].iter().map(|one| open(&mut table, one)).collect();
            let _request = own[0].begin();
            open(&mut table, addresses[3]);
            assert!(own[1].is_closing() && !own[2].is_closing());
        }
        assert_eq!(counted.take(), [Reason::Address; 2]);
        let busy: Vec<_> = (0..3).map(|_| open(&mut table, "192.0.2.9").begin()).collect();
        assert!(matches!(table.admit("192.0.2.9".parse().unwrap(), false), Admission::Refused));
        assert!(matches!(
            table.admit("::ffff:192.0.2.9".parse().unwrap(), false),
            Admission::Refused
        ));
        table.remove(busy[0].connection().id);
        open(&mut table, "192.0.2.9");

        let mut behind = self::table(LIMITS, &counted);
        for _ in 0..8 {
            assert!(matches!(behind.admit("192.0.2.1".parse().unwrap(), true), Admission::Open(_)));
        }
        assert!(behind.is_full());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_connections_are_bounded() {
        let counted = RefCell::default();
        let mut table = table(ConnectionLimits { most: MAX_CLOSING * 2, ..LIMITS }, &counted);
        let all: Vec<_> = (0..MAX_CLOSING * 3).map(|_| open(&mut table, "127.0.0.1")).collect();
        assert!(matches!(table.admit([127, 0, 0, 1].into(), false), Admission::Wait));
        table.remove(all.iter().find(|one| one.is_closing()).unwrap().id);
        open(&mut table, "127.0.0.1");
    }

    #[tokio::test]
    async fn pressure_has_a_hysteresis() {
        let counted = RefCell::default();
        let mut table = table(LIMITS, &counted);
        let mut all: Vec<_> = (0..5).map(|_| open(&mut table, "127.0.0.1")).collect();
        assert!(!all[0].is_pressed());
        all.push(open(&mut table, "127.0.0.1"));
        assert!(all[0].is_pressed());
        table.remove(all[5].id);
        assert!(all[0].is_pressed());
        table.remove(all[4].id);
        assert!(!all[0].is_pressed());
    }
}
