//! Counts since the process started, for `GET /sandbox/stats`.

use crate::faults::{Fault, Plan};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    pub requests: u64,
    /// Answers given by HTTP status; dropped ones count as what was to be said.
    pub answers: BTreeMap<u16, u64>,
    pub replays: u64,
    pub keys_in_use: u64,
    pub keys_reused: u64,
    pub faults: BTreeMap<Fault, u64>,
    pub webhooks: WebhookStats,
    pub log_syncs: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct WebhookStats {
    pub queued: u64,
    pub delivered: u64,
    pub retried: u64,
    pub given_up: u64,
    pub pending: usize,
}

impl Stats {
    pub fn count_answer(&mut self, status: u16) {
        self.requests += 1;
        *self.answers.entry(status).or_default() += 1;
    }

    pub fn count_faults(&mut self, plan: &Plan) {
        for fault in plan.faults() {
            *self.faults.entry(fault).or_default() += 1;
        }
    }

    pub fn count_delivery(&mut self, delivered: bool, tried_again: bool) {
        match (delivered, tried_again) {
            (true, _) => self.webhooks.delivered += 1,
            (false, true) => self.webhooks.retried += 1,
            (false, false) => self.webhooks.given_up += 1,
        }
    }
}
