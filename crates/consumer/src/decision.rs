use crate::Rejection;

/// What comes of a command that is not refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<E> {
    /// These happened, in this order. They go into the book; the one that closes the command is also the reply.
    Happened(Vec<E>),
    /// It is so already: nothing happens again, and the sender is told what there is.
    Already(E),
}

/// It happened.
pub fn happened<E>(event: impl Into<E>) -> Result<Decision<E>, Rejection> {
    Ok(Decision::Happened(vec![event.into()]))
}

/// They happened, in this order.
pub fn happened_all<E>(events: Vec<E>) -> Result<Decision<E>, Rejection> {
    Ok(Decision::Happened(events))
}

/// It is so already; the event is the reply, and does not go into the book a second time.
pub fn already<E>(event: impl Into<E>) -> Result<Decision<E>, Rejection> {
    Ok(Decision::Already(event.into()))
}

/// The command is refused.
pub fn reject<E>(rejection: impl Into<Rejection>) -> Result<Decision<E>, Rejection> {
    Err(rejection.into())
}
