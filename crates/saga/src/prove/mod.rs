//! The prover: looks for a course of events after which a saga has not ended cleanly.
//!
//! Around the usual course it tries every combination of up to [`FAULTS`] unusual happenings, at every point:
//! rejections and other closing events, discarded commands, deadlines, answers in another order, late or
//! twice, a second start, the cancel command, each of the operator's verbs, also after the end. Every input
//! is applied twice to the same bytes, as after a crash between any two messages. States that were seen
//! before are not followed again, so the search is exhaustive within its bounds.

mod judge;
mod moves;
pub(crate) mod samples;
mod world;

#[cfg(test)]
pub(crate) use world::short;

use std::fmt;
use std::rc::Rc;

use daybook_events::{Command, Message};
use hashbrown::HashSet;
use serde_json::Value;

use crate::definition::encoded;
use crate::{SagaData, Versions};
use moves::Move;
use samples::Style;
use world::{Given, Trail, World};

/// Unusual happenings in one course of events.
pub const FAULTS: u8 = 2;

/// Longest course of events; a saga that is longer does not come to rest.
const MOVES_MAX: usize = 400;

/// What was tried without finding anything wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Different states of saga and world.
    pub states: usize,
    /// Times that all was at rest, and clean.
    pub ends: usize,
}

/// A course of events that ends badly.
#[derive(Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// What is wrong at its end.
    pub violation: String,
    /// What happened, in order.
    pub course: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}; this happened:", self.violation)?;
        self.course.iter().zip(1..).try_for_each(|(told, number)| writeln!(formatter, "{number:4}  {told}"))
    }
}

impl fmt::Debug for Counterexample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl std::error::Error for Counterexample {}

/// An event as participants send it in a proof, instead of one that is made up.
#[derive(Clone, Debug)]
pub struct Sample {
    full_name: &'static str,
    json: Value,
}

impl Sample {
    /// Fields that the answered command has too are still taken from there.
    ///
    /// # Panics
    /// When the event cannot be written as JSON.
    pub fn of<E: Message>(event: &E) -> Self {
        let json = serde_json::to_value(event).expect("messages can be written as JSON");
        Self { full_name: E::FULL_NAME, json }
    }
}

/// Proves the newest version of a saga, begun with this command. Answers are made up from their schemas;
/// everything is tried with numbers and optional fields there, and with zeros and nothing.
///
/// # Errors
/// The first course of events that was found to end badly.
///
/// # Panics
/// When the start cannot be encoded.
pub fn prove<S: Command, D: SagaData>(versions: &Versions<D>, start: &S) -> Result<Proof, Counterexample> {
    prove_given(versions, start, &[])
}

/// The same, where some answers matter too much to be made up.
///
/// # Errors
/// See [`prove`].
///
/// # Panics
/// See [`prove`].
pub fn prove_given<S: Command, D: SagaData>(
    versions: &Versions<D>,
    start: &S,
    samples: &[Sample],
) -> Result<Proof, Counterexample> {
    let body = encoded(start).expect("the start of a proof is a valid message");
    let start_json = samples::to_json(S::FULL_NAME, &body);
    let mut proof = Proof::default();
    for style in [Style::Full, Style::Sparse] {
        let (start_body, start_json) = (body.clone(), start_json.clone());
        let given = Given { versions, instance_id: start.key(), start: start_body, start_json, style, samples };
        for first in [Move::Start, Move::Cancel] {
            if first == Move::Start || versions.newest().cancel.is_some() {
                Search::new(&given, &mut proof).run(&first, FAULTS)?;
            }
        }
    }
    Ok(proof)
}

struct Search<'a, D> {
    given: &'a Given<'a, D>,
    proof: &'a mut Proof,
    seen: HashSet<u64>,
    open: Vec<World>,
}

impl<'a, D: SagaData> Search<'a, D> {
    fn new(given: &'a Given<'a, D>, proof: &'a mut Proof) -> Self {
        Self { given, proof, seen: HashSet::new(), open: Vec::new() }
    }

    fn run(mut self, first: &Move, faults: u8) -> Result<(), Counterexample> {
        let world = World::new(faults);
        self.follow(&world, first, 0)?;
        while let Some(world) = self.open.pop() {
            match world.usual(self.given) {
                Some(usual) => self.follow(&world, &usual, 0)?,
                None => {
                    self.proof.ends += 1;
                    world.check_at_rest().map_err(|violation| counterexample(&world, violation))?;
                }
            }
            if world.faults_left > 0 {
                for unusual in world.unusual(self.given) {
                    self.follow(&world, &unusual, 1)?;
                }
            }
        }
        self.proof.states += self.seen.len();
        Ok(())
    }

    fn follow(&mut self, world: &World, happening: &Move, cost: u8) -> Result<(), Counterexample> {
        let mut next = world.clone();
        next.faults_left -= cost;
        next.apply(self.given, happening).map_err(|violation| counterexample(&next, violation))?;
        if course(next.trail.as_ref()).count() > MOVES_MAX {
            return Err(counterexample(&next, "the saga does not come to rest".to_owned()));
        }
        if self.seen.insert(next.fingerprint()) {
            self.open.push(next);
        }
        Ok(())
    }
}

fn course(trail: Option<&Rc<Trail>>) -> impl Iterator<Item = &Trail> {
    std::iter::successors(trail.map(Rc::as_ref), |trail| trail.before.as_deref())
}

fn counterexample(world: &World, violation: String) -> Counterexample {
    let mut course: Vec<String> = course(world.trail.as_ref()).map(|trail| trail.told.clone()).collect();
    course.reverse();
    Counterexample { violation, course }
}
