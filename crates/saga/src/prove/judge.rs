//! What the prover itself knows of the course of events, and holds against the saga.

use daybook_events::{Message, Rejected};
use uuid::Uuid;

use super::moves::Verb;
use super::world::short;
use crate::Saga;
use crate::instance::Direction;

/// What became of one step of the current round, as the world around the saga saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Truth {
    /// Commands sent, and how many of them the saga was told, while it waited, not to have been carried out.
    pub(crate) sent: u32,
    pub(crate) rejected: u32,
    /// Commands that the saga was entitled to send.
    pub(crate) entitled: u32,
    pub(crate) undo_sent: u32,
    pub(crate) undo_entitled: u32,
    /// The participant has carried it out, and not undone it.
    pub(crate) stands: bool,
    /// The saga was told that it is done.
    pub(crate) answered: bool,
    pub(crate) undone: bool,
    /// An operator took responsibility for the step, or for its undo.
    pub(crate) skipped: bool,
    pub(crate) undo_skipped: bool,
    /// Where the command went.
    pub(crate) place: Option<(String, Uuid)>,
}

impl Truth {
    pub(crate) fn fresh() -> Self {
        Self { entitled: 1, undo_entitled: 1, ..Self::default() }
    }

    /// Sent, not known to be rejected, not undone: it must be undone before the saga may end otherwise than well.
    pub(crate) fn must_be_undone(&self) -> bool {
        self.sent > self.rejected && !self.undone && !self.undo_skipped
    }
}

/// A start or a cancel that waits for its one closing reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) id: Uuid,
    pub(crate) is_cancel: bool,
    pub(crate) replies: Vec<String>,
}

/// A command on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sent {
    pub(crate) id: Uuid,
    pub(crate) step: usize,
    pub(crate) direction: Direction,
    pub(crate) full_name: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) place: (String, Uuid),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Judge {
    pub(crate) truths: Vec<Truth>,
    /// The command that the saga sent last and that was not answered.
    pub(crate) awaited: Option<Uuid>,
    pub(crate) asked: Vec<Asked>,
    /// The cancel command has come in.
    pub(crate) canceled: bool,
    /// An operator ended it where it stood: nothing is promised any more.
    pub(crate) abandoned: bool,
    /// Ids of the commands sent, with step, direction and attempt.
    pub(crate) ids: Vec<Uuid>,
}

impl Judge {
    pub(crate) fn new_round(&mut self, steps: usize) {
        self.truths = vec![Truth::fresh(); steps];
        self.awaited = None;
        self.canceled = false;
        self.asked.retain(|asked| asked.replies.is_empty());
    }

    /// From now on everything is to be undone, also what an operator had abandoned.
    pub(crate) fn cancel_comes_in(&mut self, is_started: bool) {
        self.canceled |= is_started;
        if std::mem::take(&mut self.abandoned) {
            for truth in &mut self.truths {
                truth.undo_entitled = truth.undo_sent + 1;
            }
        }
    }

    /// A command leaves the saga.
    pub(crate) fn sent<D>(&mut self, saga: &Saga<D>, sent: &Sent) -> Result<(), String> {
        if self.ids.contains(&sent.id) {
            return Err(format!("two commands have the id {}", sent.id));
        }
        self.ids.push(sent.id);
        self.awaited = Some(sent.id);
        match sent.direction {
            Direction::Do => self.sent_forward(saga, sent),
            Direction::Undo => self.sent_undo(saga, sent),
        }
    }

    fn sent_forward<D>(&mut self, saga: &Saga<D>, sent: &Sent) -> Result<(), String> {
        let name = saga.steps[sent.step].name;
        if let Some(undone) = self.truths.iter().position(|truth| truth.undo_sent > 0) {
            return Err(format!("`{name}` is sent although `{}` is being undone", saga.steps[undone].name));
        }
        let truth = &mut self.truths[sent.step];
        truth.sent += 1;
        if truth.sent > truth.entitled {
            return Err(format!("`{name}` is sent {} times, of which {} had a reason", truth.sent, truth.entitled));
        }
        truth.place = Some(sent.place.clone());
        Ok(())
    }

    fn sent_undo<D>(&mut self, saga: &Saga<D>, sent: &Sent) -> Result<(), String> {
        let name = saga.steps[sent.step].name;
        let later = (sent.step + 1..saga.steps.len())
            .find(|later| saga.steps[*later].undo().is_some() && self.truths[*later].must_be_undone());
        if let Some(later) = later {
            return Err(format!("`{name}` is undone before `{}`, which came after it", saga.steps[later].name));
        }
        let past_pivot = saga.pivot().is_some_and(|pivot| self.truths[pivot].answered);
        if past_pivot && !self.canceled {
            return Err(format!("`{name}` is undone past the pivot"));
        }
        let truth = &mut self.truths[sent.step];
        if !truth.must_be_undone() {
            return Err(format!("`{name}` is undone although it was never sent, was rejected or is undone already"));
        }
        truth.undo_sent += 1;
        if truth.undo_sent > truth.undo_entitled {
            return Err(format!("the undo of `{name}` is sent again without a reason"));
        }
        if truth.place.as_ref() != Some(&sent.place) {
            return Err(format!("the undo of `{name}` goes to another topic or key than its command"));
        }
        Ok(())
    }

    /// A participant has carried a command out.
    pub(crate) fn carried_out<D>(&mut self, saga: &Saga<D>, sent: &Sent) {
        match sent.direction {
            Direction::Do => self.truths[sent.step].stands = true,
            Direction::Undo => {
                self.truths[sent.step].stands = false;
                for (index, step) in saga.steps.iter().enumerate() {
                    if step.undone_with(sent.step) {
                        self.truths[index].stands = false;
                    }
                }
            }
        }
    }

    /// A reply goes to the saga. Answers whether it is the one it waits for.
    pub(crate) fn replied(&mut self, step: usize, direction: Direction, reply_for: Uuid, well: bool) -> bool {
        if self.awaited != Some(reply_for) {
            return false;
        }
        self.awaited = None;
        let truth = &mut self.truths[step];
        match (direction, well) {
            (Direction::Do, true) => truth.answered = true,
            (Direction::Do, false) => {
                truth.rejected += 1;
                truth.entitled += 1;
            }
            (Direction::Undo, true) => truth.undone = true,
            (Direction::Undo, false) => truth.undo_entitled += 1,
        }
        true
    }

    /// An operator's order that is going to be carried out: on this step, if one is awaited.
    pub(crate) fn ordered(&mut self, verb: Verb, target: Option<(usize, Direction)>) {
        let target = target.and_then(|(step, direction)| Some((self.truths.get_mut(step)?, direction)));
        match (verb, target) {
            // A rejected command has one attempt to come already.
            (Verb::Retry, Some((truth, Direction::Do))) => truth.entitled = truth.sent + 1,
            (Verb::Retry, Some((truth, Direction::Undo))) => truth.undo_entitled = truth.undo_sent + 1,
            (Verb::Skip, Some((truth, Direction::Do))) => truth.skipped = true,
            (Verb::Skip, Some((truth, Direction::Undo))) => truth.undo_skipped = true,
            (Verb::Cancel, _) => self.abandoned = true,
            (Verb::Compensate, _) | (Verb::Retry | Verb::Skip, None) => {}
        }
        if verb != Verb::Compensate {
            self.awaited = None;
        }
    }

    /// A reply leaves the saga for whoever started or canceled it.
    pub(crate) fn closed(&mut self, reply_for: Uuid, full_name: &str) -> Result<(), String> {
        let Some(asked) = self.asked.iter_mut().find(|asked| asked.id == reply_for) else {
            return Err(format!("{full_name} answers something that nobody asked"));
        };
        asked.replies.push(full_name.to_owned());
        match asked.replies.as_slice() {
            [_] => Ok(()),
            replies => Err(format!("one command got {} closing replies: {}", replies.len(), replies.join(", "))),
        }
    }

    /// Nothing is on its way any more, and nothing is due.
    pub(crate) fn at_rest(&self, status: &str) -> Result<(), String> {
        if let Some(open) = self.asked.iter().find(|asked| asked.replies.is_empty()) {
            let kind = if open.is_cancel { "cancel" } else { "start" };
            return Err(format!("a {kind} never got its closing reply"));
        }
        match status {
            "done" | "failed" | "compensated" | "canceled" => Ok(()),
            open => Err(format!("nothing is on its way and nothing is due, but the saga is {open}")),
        }
    }

    /// What must hold from the moment that the saga has ended.
    pub(crate) fn clean<D>(&self, saga: &Saga<D>, status: &str) -> Result<(), String> {
        match status {
            _ if self.abandoned => Ok(()),
            "done" => self.told(status, saga.closing[0]).and_then(|()| self.all_stand(saga)),
            "failed" | "compensated" => {
                self.told(status, saga.closing[1]).and_then(|()| self.none_stands(saga, status))
            }
            // It may have been done before.
            "canceled" => self.none_stands(saga, status),
            _ => Ok(()),
        }
    }

    fn told(&self, status: &str, name: &str) -> Result<(), String> {
        let replies = self.asked.iter().filter(|asked| !asked.is_cancel).flat_map(|asked| &asked.replies);
        match replies.map(|full_name| short(full_name)).find(|told| *told != name && *told != Rejected::NAME) {
            Some(told) => Err(format!("the saga is {status}, but the start was told {told}")),
            None => Ok(()),
        }
    }

    fn all_stand<D>(&self, saga: &Saga<D>) -> Result<(), String> {
        for (step, truth) in saga.steps.iter().zip(&self.truths) {
            let asked_for = truth.sent > 0 && !step.is_best_effort() && !truth.skipped;
            if asked_for && !truth.stands {
                return Err(format!("the saga is done, but `{}` does not stand", step.name));
            }
        }
        Ok(())
    }

    fn none_stands<D>(&self, saga: &Saga<D>, status: &str) -> Result<(), String> {
        for (index, (step, truth)) in saga.steps.iter().zip(&self.truths).enumerate() {
            let given_up = truth.undo_skipped || self.cover_given_up(saga, index);
            if truth.stands && !step.is_best_effort() && !given_up {
                return Err(format!("the saga is {status}, but `{}` still stands", step.name));
            }
            if step.undo().is_some() && truth.must_be_undone() {
                return Err(format!("the saga is {status}, but `{}` was sent and never undone", step.name));
            }
        }
        Ok(())
    }

    fn cover_given_up<D>(&self, saga: &Saga<D>, index: usize) -> bool {
        (0..index).any(|cover| saga.steps[index].undone_with(cover) && self.truths[cover].undo_skipped)
    }
}
