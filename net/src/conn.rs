//! What a server knows of one connection, as a pure state machine: requests are answered in the order of their arrival
//! although they are completed in any order, and how many may be open at once is bounded.
//!
//! Kafka clients match responses to requests by order (and check the correlation id), and pipeline several requests a
//! connection; Kafka itself handles one at a time, Redpanda's two-stage dispatch is what this serves.

use bytes::Bytes;
use std::collections::VecDeque;

/// What a completed request leaves for its connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A response frame, length prefix included.
    Frame(VecDeque<Bytes>),
    /// No response: a produce request with acks 0.
    Silence,
    /// No response, and the connection ends once what came before is sent.
    Close,
}

impl Answer {
    /// How many bytes are to be sent.
    pub fn bytes(&self) -> usize {
        match self {
            Answer::Frame(rope) => rope.iter().map(Bytes::len).sum(),
            Answer::Silence | Answer::Close => 0,
        }
    }
}

/// How much one connection may have open.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests that are read and not yet answered; at least 1.
    pub requests_max: usize,
    /// Bytes of open requests and unsent answers above which no further request is begun; one always is.
    pub bytes_max: usize,
}

/// Names one open request of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

struct Slot<T> {
    note: T,
    answer: Option<Answer>,
    /// Of the request while it is open, of the answer afterwards.
    bytes: usize,
}

/// The open requests of a connection, oldest first. Each carries a note of its server's.
pub struct InFlight<T> {
    limits: Limits,
    slots: VecDeque<Slot<T>>,
    /// The ticket of the oldest slot.
    oldest: u64,
    bytes: usize,
}

impl<T> InFlight<T> {
    /// Nothing is open yet.
    pub fn new(limits: Limits) -> InFlight<T> {
        assert!(limits.requests_max > 0, "a connection must be able to ask");
        InFlight { limits, slots: VecDeque::new(), oldest: 0, bytes: 0 }
    }

    /// Whether another request may be begun; if not, the connection reads no further. Answers that became ready since it was asked may
    /// have taken the room: one request more does no harm.
    pub fn has_room(&self) -> bool {
        self.slots.is_empty()
            || (self.slots.len() < self.limits.requests_max && self.bytes < self.limits.bytes_max)
    }

    /// Opens a slot for a request of `bytes`.
    pub fn begin(&mut self, bytes: usize, note: T) -> Ticket {
        let ticket = Ticket(self.oldest + self.slots.len() as u64);
        self.slots.push_back(Slot { note, answer: None, bytes });
        self.bytes += bytes;
        ticket
    }

    fn slot(&mut self, ticket: Ticket) -> &mut Slot<T> {
        let place = usize::try_from(ticket.0 - self.oldest).expect("slots fit into memory");
        self.slots.get_mut(place).expect("a ticket names an open slot")
    }

    /// The note of a request whose answer has not left.
    pub fn note(&mut self, ticket: Ticket) -> &mut T {
        &mut self.slot(ticket).note
    }

    /// Completes a request; returns whether answers are now ready to leave.
    pub fn complete(&mut self, ticket: Ticket, answer: Answer) -> bool {
        let answer_bytes = answer.bytes();
        let slot = self.slot(ticket);
        assert!(slot.answer.is_none(), "a request is completed once");
        let request_bytes = std::mem::replace(&mut slot.bytes, answer_bytes);
        slot.answer = Some(answer);
        self.bytes = self.bytes - request_bytes + answer_bytes;
        self.is_oldest(ticket)
    }

    /// The oldest answer and its request's note, if it may leave now.
    pub fn pop(&mut self) -> Option<(T, Answer)> {
        let answer = self.slots.front_mut()?.answer.take()?;
        let slot = self.slots.pop_front()?;
        self.bytes -= slot.bytes;
        self.oldest += 1;
        Some((slot.note, answer))
    }

    /// Whether every request before this one has been answered, and its answer has left.
    pub fn is_oldest(&self, ticket: Ticket) -> bool {
        ticket.0 == self.oldest
    }

    /// Whether no request is open and no answer waits.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Requests that are open or whose answers wait.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of open requests and waiting answers.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { requests_max: 4, bytes_max: 100 };

    fn frame(byte: u8) -> Answer {
        Answer::Frame(VecDeque::from([Bytes::from(vec![byte; 10])]))
    }

    #[test]
    fn answers_leave_in_request_order() {
        let mut open = InFlight::new(LIMITS);
        let tickets = [open.begin(1, 'a'), open.begin(1, 'b'), open.begin(1, 'c')];
        assert!(!open.complete(tickets[2], frame(2)));
        assert!(!open.complete(tickets[1], Answer::Silence));
        assert_eq!(open.pop(), None);
        assert!(open.is_oldest(tickets[0]) && !open.is_oldest(tickets[1]));
        assert!(open.complete(tickets[0], frame(0)));
        assert_eq!(
            [open.pop(), open.pop(), open.pop()],
            [Some(('a', frame(0))), Some(('b', Answer::Silence)), Some(('c', frame(2)))]
        );
        assert!(open.is_empty() && open.bytes() == 0);
    }

    #[test]
    fn a_request_larger_than_the_bound_goes_alone() {
        let mut open = InFlight::new(LIMITS);
        let ticket = open.begin(1000, ());
        assert!(!open.has_room());
        open.complete(ticket, Answer::Close);
        assert!(open.has_room(), "its bytes are free once it is answered");
    }

    #[test]
    fn unsent_answers_count() {
        let mut open = InFlight::new(LIMITS);
        let ticket = open.begin(1, ());
        open.complete(ticket, Answer::Frame(VecDeque::from([Bytes::from(vec![0; 200])])));
        assert!(!open.has_room());
        assert!(open.pop().is_some() && open.has_room());
    }

    proptest! {
        #[test]
        fn any_order_of_completion_keeps_order_and_account(order in proptest::collection::vec(0usize..4, 0..200)) {
            let mut open = InFlight::new(LIMITS);
            let (mut begun, mut popped, mut pending) = (0u8, 0u8, Vec::new());
            for choice in order {
                if open.has_room() {
                    pending.push((open.begin(5, begun), begun));
                    begun = begun.wrapping_add(1);
                }
                let (ticket, name) = pending.swap_remove(choice % pending.len());
                open.complete(ticket, frame(name));
                while let Some(answer) = open.pop() {
                    prop_assert_eq!(answer, (popped, frame(popped)));
                    popped = popped.wrapping_add(1);
                }
                prop_assert!(open.len() <= LIMITS.requests_max);
                if pending.is_empty() {
                    prop_assert_eq!(open.bytes(), 0);
                }
            }
        }
    }
}
