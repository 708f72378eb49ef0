use std::fmt::Debug;

use daybook_engine::{Context, Thread};
use daybook_events::{Actor, Family, ProviderNotice, Timestamp};
use uuid::Uuid;

use crate::{Acts, Aggregate, Code, Conclusion, Decision, Entity, Noticed, Rejection};

/// An entity to which these events have happened, in this order.
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut given = Given {
        entity: None,
        cx: Context { now: Timestamp(0), message_id: Uuid::from_u128(0xfeed), thread: Thread::default() },
        last: None,
    };
    for event in events {
        given.happen(event);
    }
    given
}

/// See [`given`].
pub struct Given<A: Aggregate> {
    entity: Option<Entity<A>>,
    cx: Context,
    last: Option<A::Event>,
}

impl<A: Aggregate> Given<A> {
    /// What time it is; the epoch otherwise.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.cx.now = now;
        self
    }

    /// On behalf of which organization; none otherwise.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<Uuid>) -> Self {
        self.cx.thread.tenant = Some(tenant.into());
        self
    }

    /// On whose behalf; nobody's otherwise.
    #[must_use]
    pub fn actor(mut self, id: impl Into<Uuid>, scopes: &str) -> Self {
        self.cx.thread.actor = Some(Actor { id: id.into(), scopes: scopes.into() });
        self
    }

    pub fn when(self, command: impl Into<A::Command>) -> Decided<A> {
        let command = command.into();
        let mut entity = self.entity.unwrap_or_else(|| Entity::empty(command.key()));
        assert_eq!(command.key(), entity.key(), "the command is for another entity");
        entity.declare(A::command_parts(&command));
        let decision = A::decide(&entity, command, &self.cx);
        Decided { given: Self { entity: Some(entity), ..self }, decision }
    }

    /// What the entity asks of itself, and when.
    pub fn due(&self) -> Option<(Timestamp, A::Command)> {
        self.entity.as_ref().and_then(|entity| A::due(entity.key(), entity))
    }

    /// What its parts ask, in the order of their ids.
    pub fn parts_due(&self) -> Vec<(Timestamp, A::Command)> {
        let Some(entity) = &self.entity else {
            return Vec::new();
        };
        entity.part_values().filter_map(|(id, part)| A::part_due(entity.key(), id, part)).collect()
    }

    /// What the events have come to; the empty state where there were none.
    pub fn state(&self) -> A::State {
        self.entity.as_ref().map(|entity| A::State::clone(entity)).unwrap_or_default()
    }

    fn happen(&mut self, event: A::Event) {
        let entity = self.entity.get_or_insert_with(|| Entity::empty(event.key()));
        entity.declare(A::event_parts(&event));
        entity.apply(&event).expect("its parts were just declared");
        self.last = Some(event);
    }
}

impl<A: Acts> Given<A> {
    /// The effect that the last event intends ends like this; what it comes to has happened, too.
    pub fn when_concluded(self, conclusion: Conclusion<A::Answer>) -> Decided<A> {
        let request = self.pending().expect("the last event intends an effect");
        let mut entity = self.entity.expect("the last event happened to it");
        entity.declare(A::request_parts(&request));
        let events = A::conclude(&entity, request, conclusion, &self.cx);
        Decided { given: Self { entity: Some(entity), ..self }, decision: Ok(Decision::Happened(events)) }
    }

    /// What a notice comes to, with the effect under way that the last event intends, if it does.
    pub fn noticed(&self, notice: &ProviderNotice) -> Noticed<A::Event> {
        let entity = self.entity.as_ref().expect("something happened to it");
        A::notice(entity, self.pending(), notice, &self.cx)
    }

    fn pending(&self) -> Option<A::Request> {
        self.last.as_ref().and_then(A::request)
    }
}

/// What came of a command.
pub struct Decided<A: Aggregate> {
    given: Given<A>,
    decision: Result<Decision<A::Event>, Rejection>,
}

impl<A: Aggregate> Decided<A> {
    /// Exactly these happened; the story goes on from there.
    ///
    /// # Panics
    /// When something else did.
    pub fn then(mut self, events: impl IntoIterator<Item = A::Event>) -> Given<A> {
        let expected: Vec<_> = events.into_iter().collect();
        assert_same(&self.decision, &Ok(Decision::Happened(expected.clone())));
        for event in expected {
            self.given.happen(event);
        }
        self.given
    }

    /// It was so already, and this is the reply.
    ///
    /// # Panics
    /// When it was not.
    pub fn then_already(self, event: impl Into<A::Event>) -> Given<A> {
        assert_same(&self.decision, &Ok(Decision::Already(event.into())));
        self.given
    }

    /// It was refused with this code.
    ///
    /// # Panics
    /// When it was not.
    pub fn then_rejected(self, code: Code) -> Given<A> {
        match &self.decision {
            Err(rejection) => assert_eq!(rejection.code, code),
            Ok(decision) => panic!("expected {code}, found {decision:#?}"),
        }
        self.given
    }

    /// What happened, to be looked at; the story goes on from there.
    ///
    /// # Panics
    /// When nothing did.
    pub fn happened(mut self) -> (Vec<A::Event>, Given<A>) {
        match self.decision {
            Ok(Decision::Happened(events)) => {
                for event in &events {
                    self.given.happen(event.clone());
                }
                (events, self.given)
            }
            other => panic!("expected events, found {other:#?}"),
        }
    }
}

fn assert_same<T: PartialEq + Debug>(found: &T, expected: &T) {
    assert!(found == expected, "expected {expected:#?}\nfound {found:#?}");
}
