//! Questions of one kind that come while another is under way, or soon after it was asked, are asked in one go: under load many
//! take one round trip, and alone nobody waits for another.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

/// For so long after a question was asked those that come gather, if there is more than one.
const GATHERING: Duration = Duration::from_millis(1);
/// Ids in one question.
const IDS_MAX: usize = 500;

type Answer<A, E> = Result<Option<A>, E>;
type Waiting<A, E> = (Uuid, oneshot::Sender<Answer<A, E>>);

/// Those who wait for an answer.
pub struct Together<A, E> {
    waiting: Mutex<Vec<Waiting<A, E>>>,
    /// Held by whoever asks; tells when the last question was asked.
    turn: tokio::sync::Mutex<Option<Instant>>,
}

impl<A, E> Default for Together<A, E> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }
}

impl<A: Clone, E: Clone> Together<A, E> {
    /// What is found for `id`, by a question that is asked after this. Asks for all who wait, or waits for somebody who does. May be
    /// canceled: who waited for it asks anew.
    ///
    /// # Errors
    /// When the question fails, for all whose it was.
    pub async fn find<F>(&self, id: Uuid, ask: impl Fn(Vec<Uuid>) -> F) -> Answer<A, E>
    where
        F: Future<Output = Result<HashMap<Uuid, A>, E>>,
    {
        let mut answered = self.wait_for(id);
        loop {
            let answer = tokio::select! {
                biased;
                answer = &mut answered => answer,
                mut asked_at = self.turn.lock() => {
                    self.gather(*asked_at).await;
                    let now = Instant::now();
                    if self.answer_all(&ask).await {
                        *asked_at = Some(now);
                        continue;
                    }
                    drop(asked_at);
                    // Nobody waits to be asked for, so somebody else is asking for this one.
                    (&mut answered).await
                }
            };
            match answer {
                Ok(answer) => return answer,
                // Whoever asked for it was cut off.
                Err(_) => answered = self.wait_for(id),
            }
        }
    }

    fn wait_for(&self, id: Uuid) -> oneshot::Receiver<Answer<A, E>> {
        let (answer, answered) = oneshot::channel();
        self.waiting().push((id, answer));
        answered
    }

    async fn gather(&self, asked_at: Option<Instant>) {
        let until = asked_at.map(|at| at + GATHERING).filter(|until| *until > Instant::now());
        if let Some(until) = until
            && self.waiting().len() > 1
        {
            sleep_until(until).await;
        }
    }

    /// Answers whether anybody waited.
    async fn answer_all<F>(&self, ask: &impl Fn(Vec<Uuid>) -> F) -> bool
    where
        F: Future<Output = Result<HashMap<Uuid, A>, E>>,
    {
        let taken: Vec<_> = {
            let mut waiting = self.waiting();
            waiting.retain(|(_, answer)| !answer.is_closed());
            let count = waiting.len().min(IDS_MAX);
            waiting.drain(..count).collect()
        };
        if taken.is_empty() {
            return false;
        }
        let found = ask(taken.iter().map(|(id, _)| *id).collect()).await;
        for (id, answer) in taken {
            let found = found.as_ref().map(|found| found.get(&id).cloned()).map_err(Clone::clone);
            // Whoever has gone away meanwhile needs none.
            drop(answer.send(found));
        }
        true
    }

    /// A panic while it was held can't have broken it: what is pushed or taken is whole.
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting<A, E>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use futures::FutureExt as _;
    use futures::future::{join_all, pending};
    use tokio::sync::Notify;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Away;

    fn squares(ids: &[Uuid]) -> HashMap<Uuid, u128> {
        ids.iter().filter(|id| id.as_u128() % 2 == 0).map(|id| (*id, id.as_u128() * id.as_u128())).collect()
    }

    #[tokio::test]
    async fn what_gathers_is_asked_for_in_one_go() {
        let together = Together::<_, Away>::default();
        let asked = AtomicUsize::new(0);
        let go_on = Notify::new();
        let ask = |ids: Vec<Uuid>| {
            let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
            let go_on = &go_on;
            async move {
                if first {
                    go_on.notified().await;
                }
                Ok(squares(&ids))
            }
        };
        let questions = join_all((0..100).map(|id| together.find(Uuid::from_u128(id), ask)));
        let release = async {
            tokio::task::yield_now().await;
            go_on.notify_waiters();
        };
        let (answers, ()) = tokio::join!(questions, release);
        for (id, answer) in (0_u128..).zip(answers) {
            assert_eq!(answer.unwrap(), id.is_multiple_of(2).then_some(id * id));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2, "one alone, and then the rest");
    }

    #[tokio::test]
    async fn a_question_that_is_given_up_is_asked_by_who_waits_for_it() {
        let together = Arc::new(Together::<u128, Away>::default());
        let (one, other) = (Uuid::from_u128(2), Uuid::from_u128(4));
        let mut stuck = Box::pin(together.find(one, |_| pending::<Result<_, Away>>()));
        assert!(futures::poll!(stuck.as_mut()).is_pending());
        let mut waiting = Box::pin(together.find(other, |ids| async move { Ok(squares(&ids)) }));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(stuck);
        assert_eq!(waiting.await.unwrap(), Some(16));
    }

    #[tokio::test]
    async fn what_another_was_asking_for_and_gave_up_is_asked_for_anew() {
        let together = Together::<u128, Away>::default();
        let stuck = |_: Vec<Uuid>| pending::<Result<_, Away>>();
        let mut first = Box::pin(together.find(Uuid::from_u128(2), stuck));
        let mut asks = Box::pin(together.find(Uuid::from_u128(4), stuck));
        let mut waits = Box::pin(together.find(Uuid::from_u128(6), |ids| async move { Ok(squares(&ids)) }));
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut asks).now_or_never().is_none());
        assert!((&mut waits).now_or_never().is_none());
        drop(first);
        assert!((&mut asks).now_or_never().is_none(), "it asks for both");
        drop(asks);
        assert_eq!(waits.now_or_never().expect("it asks by itself").unwrap(), Some(36));
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn who_is_asked_for_by_another_sleeps() {
        let together = Together::<u128, Away>::default();
        let stuck = |_: Vec<Uuid>| pending::<Result<_, Away>>();
        let question = |id| Box::pin(together.find(Uuid::from_u128(id), stuck));
        let (mut first, mut asks, mut sleeps) = (question(2), question(4), question(6));
        for question in [&mut first, &mut asks, &mut sleeps] {
            assert!(question.now_or_never().is_none());
        }
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        drop(first);
        assert!(asks.poll_unpin(&mut context).is_pending(), "it asks for both");
        woken.0.store(0, Ordering::Relaxed);
        assert!(sleeps.poll_unpin(&mut context).is_pending());
        // A task that used up its share is woken only now.
        tokio::task::yield_now().await;
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "it would be polled for ever");
    }

    #[tokio::test]
    async fn those_who_come_soon_after_a_question_gather_and_one_alone_does_not_wait() {
        let together = Together::<u128, Away>::default();
        let (now, minute) = (Instant::now(), Duration::from_secs(60));
        let gathers = |asked_at| together.gather(asked_at).now_or_never().is_none();
        let _one = together.wait_for(Uuid::nil());
        assert!(!gathers(Some(now + minute)), "alone");
        let _other = together.wait_for(Uuid::nil());
        assert!(gathers(Some(now + minute)));
        assert!(!gathers(now.checked_sub(minute)), "asked long ago");
        assert!(!gathers(None), "never asked");
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_whose_question_it_was() {
        let together = Together::<u128, Away>::default();
        let fail = |_| async { Err(Away) };
        let answers = join_all((0..10).map(|id| together.find(Uuid::from_u128(id), fail))).await;
        assert!(answers.iter().all(Result::is_err));
    }
}
