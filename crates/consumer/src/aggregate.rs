use daybook_engine::Context;
use daybook_events::{Family, Timestamp};
use uuid::Uuid;

use crate::{Decision, Entity, Rejection, State};

/// A consumer of the commands of one topic, whose events are the truth about its entities.
/// Everything in it is pure: the same input gives the same answer, always.
pub trait Aggregate: Sized + Send + Sync + 'static {
    /// Consumer group, schema, metric label and span name, for ever.
    const NAME: &'static str;
    /// The commands: all those of one topic.
    type Command: Family;
    /// The events: all those of one topic.
    type Event: Family;
    /// What is kept of an entity. At most 64 KiB: what grows without bound goes into parts.
    type State: State;
    /// What is kept of each part of an entity, in a row of its own: a seat of a course. `()` where there are none.
    type Part: State;

    /// The parts that deciding this command looks at or changes; a few at most. They are loaded with the entity.
    fn command_parts(_command: &Self::Command) -> Vec<Uuid> {
        Vec::new()
    }

    /// The parts that this event changes; a subset of those of the command that led to it.
    fn event_parts(_event: &Self::Event) -> Vec<Uuid> {
        Vec::new()
    }

    /// What comes of a command, or why it is refused.
    ///
    /// # Errors
    /// The rejection: nothing happens, and the sender is told.
    fn decide(entity: &Entity<Self>, command: Self::Command, cx: &Context) -> Result<Decision<Self::Event>, Rejection>;

    /// Folds an event in. It refuses nothing: what has happened has happened.
    fn evolve(entity: &mut Entity<Self>, event: &Self::Event);

    /// What an entity in this state asks of itself at some time, unless something happens before. The
    /// command may touch no parts. It must leave a state that no longer asks for it.
    fn due(_key: Uuid, _state: &Self::State) -> Option<(Timestamp, Self::Command)> {
        None
    }

    /// The same for a part; the command may touch this part only.
    fn part_due(_key: Uuid, _id: Uuid, _part: &Self::Part) -> Option<(Timestamp, Self::Command)> {
        None
    }
}
