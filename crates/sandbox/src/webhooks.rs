//! Webhooks: the queue of what is to be delivered, and the loop that delivers it.
//!
//! Webhooks of one payment go out one after the other, in order, unless one is *held* to let a later one pass. The
//! queue keeps no payload: that stays in the log and is read when its turn comes.

use crate::provider::Provider;
use crate::signature;
use crate::store::Span;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Deliveries at one time, each of another payment.
const MAX_UNDER_WAY: usize = 16;
/// How long the receiver may take to answer.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// A held webhook goes out after this, even if no later one came.
const HOLD_MS: u64 = 5_000;
/// With these, a webhook is given up after 21 minutes.
const MAX_ATTEMPTS: u32 = 30;
const FIRST_BACKOFF_MS: u64 = 200;
const LONGEST_BACKOFF_MS: u64 = 60_000;
/// The loop looks at the queue at least this often, whatever the clock does.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Where webhooks go.
#[derive(Clone)]
pub struct Webhook {
    /// An `http` or `https` address.
    pub url: String,
    /// Signs each delivery.
    pub secret: String,
}

/// A webhook whose turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    pub number: u64,
    pub attempts: u32,
    pub span: Span,
}

struct Pending {
    intent: String,
    span: Span,
    attempts: u32,
    /// When it stands in `ready`; `None` while it is under way, or waits for those before it.
    due_ms: Option<u64>,
}

#[derive(Default)]
struct Lane {
    in_order: VecDeque<u64>,
    held: Vec<u64>,
}

/// What is to be delivered. Pure: it is told the time.
#[derive(Default)]
pub struct Queue {
    pending: HashMap<u64, Pending>,
    lanes: HashMap<String, Lane>,
    /// Time due, and number.
    ready: BTreeSet<(u64, u64)>,
    last_number: u64,
}

impl Queue {
    /// The number for the next webhook.
    pub fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Adds a webhook whose payload is in the commit that stands at `span`.
    pub fn push(&mut self, number: u64, intent: &str, held: bool, span: Span, now_ms: u64) {
        self.last_number = self.last_number.max(number);
        self.pending.insert(number, Pending { intent: intent.to_owned(), span, attempts: 0, due_ms: None });
        let lane = self.lanes.entry(intent.to_owned()).or_default();
        if held {
            lane.held.push(number);
            self.schedule(number, now_ms + HOLD_MS);
        } else {
            lane.in_order.push_back(number);
            if lane.in_order.len() == 1 {
                self.schedule(number, now_ms);
            }
        }
    }

    /// Takes the webhook that is due first, if any is.
    pub fn take_due(&mut self, now_ms: u64) -> Option<Job> {
        let (due_ms, number) = *self.ready.first().filter(|(due_ms, _)| *due_ms <= now_ms)?;
        self.ready.remove(&(due_ms, number));
        let pending = self.pending.get_mut(&number)?;
        pending.due_ms = None;
        Some(Job { number, attempts: pending.attempts, span: pending.span })
    }

    pub fn next_due_ms(&self) -> Option<u64> {
        self.ready.first().map(|(due_ms, _)| *due_ms)
    }

    /// Whether an attempt was made to deliver it.
    pub fn was_attempted(&self, number: u64) -> bool {
        self.pending.get(&number).is_none_or(|pending| pending.attempts > 0)
    }

    /// An attempt failed, and another follows.
    pub fn retry(&mut self, number: u64, attempts: u32, next_at_ms: u64) {
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.attempts = attempts;
            self.schedule(number, next_at_ms);
        }
    }

    /// It was delivered, or given up: the next of its payment may go, and so may those it was to overtake.
    pub fn settle(&mut self, number: u64, now_ms: u64) {
        self.unschedule(number);
        let Some(pending) = self.pending.remove(&number) else { return };
        let Some(lane) = self.lanes.get_mut(&pending.intent) else { return };
        let was_held = lane.held.contains(&number);
        lane.held.retain(|held| *held != number);
        lane.in_order.retain(|waiting| *waiting != number);
        let next = if was_held { None } else { lane.in_order.front().copied() };
        let overtaken = if was_held { Vec::new() } else { std::mem::take(&mut lane.held) };
        for released in overtaken.iter().rev() {
            lane.in_order.push_front(*released);
        }
        if lane.in_order.is_empty() && lane.held.is_empty() {
            self.lanes.remove(&pending.intent);
        }
        for due in overtaken.into_iter().chain(next) {
            self.schedule(due, now_ms);
        }
    }

    fn schedule(&mut self, number: u64, due_ms: u64) {
        self.unschedule(number);
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.due_ms = Some(due_ms);
            self.ready.insert((due_ms, number));
        }
    }

    fn unschedule(&mut self, number: u64) {
        if let Some(pending) = self.pending.get_mut(&number)
            && let Some(due_ms) = pending.due_ms.take()
        {
            self.ready.remove(&(due_ms, number));
        }
    }
}

/// When to try again after so many attempts, or `None` to give up.
pub fn backoff_ms(attempts: u32) -> Option<u64> {
    if attempts >= MAX_ATTEMPTS {
        return None;
    }
    let doubled = FIRST_BACKOFF_MS.saturating_mul(1 << attempts.saturating_sub(1).min(20));
    Some(doubled.min(LONGEST_BACKOFF_MS))
}

/// A client for deliveries: no redirects, no proxy, bounded in time.
///
/// # Errors
/// TLS can't be set up on this machine.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    // The client insists on a TLS provider even for plain HTTP. If the process already has one, that one stays.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(DELIVERY_TIMEOUT).redirect(reqwest::redirect::Policy::none()).no_proxy().build()
}

/// Delivers until told to stop. What is under way then is delivered again after the next start.
pub async fn deliver(provider: Arc<Provider>, client: reqwest::Client, webhook: Webhook, stop: CancellationToken) {
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < MAX_UNDER_WAY
            && let Some(job) = provider.take_due_webhook()
        {
            under_way.push(attempt(&provider, &client, &webhook, job));
        }
        let has_room = under_way.len() < MAX_UNDER_WAY;
        let sleep = provider.until_next_webhook().unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
        tokio::select! {
            () = stop.cancelled() => return,
            Some(()) = under_way.next() => {}
            () = provider.webhook_queued() => {}
            () = tokio::time::sleep(sleep), if has_room => {}
        }
    }
}

async fn attempt(provider: &Provider, client: &reqwest::Client, webhook: &Webhook, job: Job) {
    let payload = match provider.webhook_payload(&job).await {
        Ok(payload) => payload,
        Err(error) => {
            tracing::error!(number = job.number, %error, "a webhook cannot be read from the log");
            return;
        }
    };
    let signature = signature::sign(&webhook.secret, provider.now_ms() / 1_000, payload.as_bytes());
    let sent = client
        .post(&webhook.url)
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", signature)
        .body(payload)
        .send()
        .await;
    let delivered = match sent {
        Ok(answer) => answer.status().is_success(),
        Err(error) => {
            tracing::debug!(number = job.number, timed_out = error.is_timeout(), "a webhook was not delivered");
            false
        }
    };
    provider.note_delivery(&job, delivered);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { offset: 0, length: 1 };

    fn queue(webhooks: &[(&str, bool)]) -> Queue {
        let mut queue = Queue::default();
        for (intent, held) in webhooks {
            let number = queue.next_number();
            queue.push(number, intent, *held, SPAN, 0);
        }
        queue
    }

    fn due(queue: &mut Queue, now_ms: u64) -> Vec<u64> {
        std::iter::from_fn(|| queue.take_due(now_ms)).map(|job| job.number).collect()
    }

    #[test]
    fn one_payment_keeps_its_order_and_others_do_not_wait() {
        let mut queue = queue(&[("a", false), ("a", false), ("b", false)]);
        assert_eq!(due(&mut queue, 0), [1, 3]);
        queue.retry(1, 1, 50);
        assert!(due(&mut queue, 49).is_empty());
        assert_eq!(due(&mut queue, 50), [1]);
        queue.settle(1, 60);
        assert_eq!(due(&mut queue, 60), [2]);
    }

    #[test]
    fn a_held_webhook_lets_the_next_pass() {
        let mut queue = queue(&[("a", true), ("a", false), ("a", false)]);
        assert_eq!(due(&mut queue, 0), [2]);
        queue.settle(2, 10);
        assert_eq!(due(&mut queue, 10), [1, 3]);
    }

    #[test]
    fn a_held_webhook_does_not_wait_for_ever() {
        let mut queue = queue(&[("a", true)]);
        assert_eq!(queue.next_due_ms(), Some(HOLD_MS));
        assert_eq!(due(&mut queue, HOLD_MS), [1]);
        queue.settle(1, HOLD_MS);
        assert_eq!((queue.len(), queue.lanes.len(), queue.ready.len()), (0, 0, 0));
    }

    #[test]
    fn attempts_are_bounded_and_grow_apart() {
        assert_eq!(backoff_ms(1), Some(200));
        assert_eq!(backoff_ms(2), Some(400));
        assert_eq!(backoff_ms(20), Some(60_000));
        assert_eq!(backoff_ms(MAX_ATTEMPTS), None);
    }
}
