//! Receives messages from the bus, as many at a time as are ready.

use futures_util::FutureExt as _;

use bklit_wire::debug_bus::{DebugMessage, DebugStream};

/// The most messages per turn, so that keys are handled in between.
const SLICE: usize = 512;

/// A subscription, and what was received from it but not handed out yet.
pub(super) struct Intake {
    /// `None` once the bus has closed.
    stream: Option<Box<dyn DebugStream>>,
    /// Kept here and not in the future that waits, which `select!` may drop at any `await`.
    received: Vec<DebugMessage>,
}

impl Intake {
    pub(super) fn new(stream: Option<Box<dyn DebugStream>>) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// The next messages, at least one; pending forever once the bus has closed. Cancel-safe.
    pub(super) async fn next(&mut self) -> Vec<DebugMessage> {
        while self.received.is_empty() {
            let Some(stream) = &mut self.stream else { return std::future::pending().await };
            match stream.next().await {
                Some(message) => self.received.push(message),
                None => self.stream = None,
            }
        }
        while self.received.len() < SLICE {
            // A stream whose share of the scheduler's budget is used up is not ready either.
            match self.stream.as_mut().and_then(|stream| stream.next().now_or_never()) {
                Some(Some(message)) => self.received.push(message),
                Some(None) => self.stream = None,
                None => break,
            }
        }
        std::mem::take(&mut self.received)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use async_trait::async_trait;
    use tokio::task::coop;

    use super::*;

    /// Has all its messages ready, and like any tokio resource spends budget for each.
    struct Ready(VecDeque<DebugMessage>);

    #[async_trait]
    impl DebugStream for Ready {
        async fn next(&mut self) -> Option<DebugMessage> {
            coop::consume_budget().await;
            self.0.pop_front()
        }
    }

    fn with(messages: u64) -> Intake {
        let messages = (0..messages).map(DebugMessage::Lost).collect();
        Intake::new(Some(Box::new(Ready(messages))))
    }

    /// The history arrives at once and uses up tokio's budget of 128 within one slice, while
    /// another branch of the loop is ready.
    #[tokio::test(flavor = "current_thread")]
    async fn no_message_is_lost_when_the_loop_turns_to_something_else() {
        for messages in [1, 127, 128, 129, 500, 512, 513, 2_000] {
            let mut intake = with(messages);
            let mut received = Vec::new();
            let mut idle_turns = 0;
            while idle_turns < 3 {
                tokio::select! {
                    biased;
                    slice = intake.next() => received.extend(slice),
                    () = std::future::ready(()) => {
                        idle_turns += 1;
                        tokio::task::yield_now().await;
                    }
                }
                if !received.is_empty() && received.len() < messages as usize {
                    idle_turns = 0;
                }
            }
            let numbers = received.iter().map(|message| match message {
                DebugMessage::Lost(number) => *number,
                other => panic!("{other:?}"),
            });
            assert!(numbers.eq(0..messages), "{} of {messages}", received.len());
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_slice_is_bounded_and_a_closed_bus_is_silent() {
        let mut intake = with(3 * SLICE as u64);
        let mut count = 0;
        while count < 3 * SLICE {
            let slice = intake.next().await;
            assert!((1..=SLICE).contains(&slice.len()));
            count += slice.len();
        }
        tokio::task::yield_now().await;
        assert!(intake.next().now_or_never().is_none());
        assert!(intake.stream.is_none());
    }
}
