use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

use daybook_engine::{Fault, Row, RowKey, Rows};
use uuid::Uuid;

use crate::faults::{PART_NOT_DECLARED, fault};
use crate::{Aggregate, State, state};

/// An entity: its state, which it dereferences to, and those of its parts that were declared.
pub struct Entity<A: Aggregate> {
    key: Uuid,
    state: A::State,
    /// Events that have gone into it.
    number: u64,
    parts: BTreeMap<Uuid, Slot<A::Part>>,
}

#[derive(Debug)]
struct Slot<P> {
    value: P,
    number: u64,
    stored: bool,
    /// By the event that is being folded in.
    touched: bool,
    /// By any event since it was loaded.
    changed: bool,
}

impl<A: Aggregate> Entity<A> {
    /// Its id.
    pub fn key(&self) -> Uuid {
        self.key
    }

    /// One of its parts; the empty one where there is none.
    ///
    /// # Panics
    /// When it was not declared by [`Aggregate::command_parts`]: a mistake that parks the message.
    pub fn part(&self, id: impl Into<Uuid>) -> &A::Part {
        match self.parts.get(&id.into()) {
            Some(slot) => &slot.value,
            None => {
                panic!("a part was asked for that command_parts or event_parts does not declare")
            }
        }
    }

    /// One of its parts, to be changed by [`Aggregate::evolve`]. Left empty, it is deleted.
    ///
    /// # Panics
    /// When it was not declared by [`Aggregate::event_parts`]: a mistake that parks the message.
    pub fn part_mut(&mut self, id: impl Into<Uuid>) -> &mut A::Part {
        match self.parts.get_mut(&id.into()) {
            Some(slot) => {
                slot.touched = true;
                &mut slot.value
            }
            None => panic!("a part was changed that command_parts or event_parts does not declare"),
        }
    }

    pub(crate) fn load(key: Uuid, ids: impl IntoIterator<Item = Uuid>, rows: &Rows<'_>) -> Result<Self, Fault> {
        let (state, number) = match rows.get(RowKey::entity(key))? {
            Some(row) => (state::decode(A::NAME, &row.body)?, row.number),
            None => (A::State::default(), 0),
        };
        let mut entity = Self { key, state, number, parts: BTreeMap::new() };
        for id in ids {
            let row = rows.get(RowKey::part(key, id))?;
            entity.parts.insert(id, Slot::load(A::NAME, row)?);
        }
        Ok(entity)
    }

    /// Folds an event in.
    pub(crate) fn apply(&mut self, event: &A::Event) -> Result<(), Fault> {
        if A::event_parts(event).iter().any(|id| !self.parts.contains_key(id)) {
            return Err(fault(PART_NOT_DECLARED, event_name::<A>(event)));
        }
        A::evolve(self, event);
        self.number += 1;
        for slot in self.parts.values_mut().filter(|slot| slot.touched) {
            slot.touched = false;
            slot.changed = true;
            slot.number += 1;
        }
        Ok(())
    }

    /// Puts the entity's row and those of the parts that have changed.
    pub(crate) fn store(&self, rows: &mut Rows<'_>) -> Result<(), Fault> {
        for (id, _) in self.parts.iter().filter(|(_, slot)| slot.changed) {
            self.store_part(*id, rows)?;
        }
        let row = Row {
            number: self.number,
            due: A::due(self.key, &self.state).map(|(due, _)| due),
            status: self.state.status().map(Into::into),
            body: state::encode(A::NAME, &self.state)?.into(),
        };
        rows.put(RowKey::entity(self.key), row);
        Ok(())
    }

    /// Puts the row of one part, changed or not.
    pub(crate) fn store_part(&self, id: Uuid, rows: &mut Rows<'_>) -> Result<(), Fault> {
        let Some(slot) = self.parts.get(&id) else {
            return Err(fault(PART_NOT_DECLARED, "of a timer"));
        };
        let key = RowKey::part(self.key, id);
        if slot.value == A::Part::default() {
            if slot.stored {
                rows.delete(key);
            }
            return Ok(());
        }
        let row = Row {
            number: slot.number,
            due: A::part_due(self.key, id, &slot.value).map(|(due, _)| due),
            status: slot.value.status().map(Into::into),
            body: state::encode(A::NAME, &slot.value)?.into(),
        };
        rows.put(key, row);
        Ok(())
    }

    /// An empty one, for tests.
    pub(crate) fn empty(key: Uuid) -> Self {
        Self { key, state: A::State::default(), number: 0, parts: BTreeMap::new() }
    }

    /// Makes parts available that were not loaded, for tests.
    pub(crate) fn declare(&mut self, ids: impl IntoIterator<Item = Uuid>) {
        for id in ids {
            self.parts.entry(id).or_insert_with(Slot::empty);
        }
    }

    pub(crate) fn part_values(&self) -> impl Iterator<Item = (Uuid, &A::Part)> {
        self.parts.iter().map(|(id, slot)| (*id, &slot.value))
    }
}

impl<P: State> Slot<P> {
    fn empty() -> Self {
        Self { value: P::default(), number: 0, stored: false, touched: false, changed: false }
    }

    fn load(owner: &str, row: Option<Row>) -> Result<Self, Fault> {
        let Some(row) = row else {
            return Ok(Self::empty());
        };
        let value = state::decode(owner, &row.body)?;
        Ok(Self { value, number: row.number, stored: true, ..Self::empty() })
    }
}

fn event_name<A: Aggregate>(event: &A::Event) -> &'static str {
    daybook_events::Family::full_name(event)
}

impl<A: Aggregate> Deref for Entity<A> {
    type Target = A::State;

    fn deref(&self) -> &A::State {
        &self.state
    }
}

impl<A: Aggregate> DerefMut for Entity<A> {
    fn deref_mut(&mut self) -> &mut A::State {
        &mut self.state
    }
}

impl<A: Aggregate> fmt::Debug for Entity<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct(A::NAME)
            .field("key", &self.key)
            .field("number", &self.number)
            .field("state", &self.state)
            .field("parts", &self.parts)
            .finish()
    }
}
