//! The peers of `saga`, those that were set up, and its bound.

use std::time::Duration;

use anyhow::Result;
use daybook_log::Log;

use crate::hops::Hops;
use crate::restate::Restate;
use crate::stage::Stage;
use crate::{Case, dbos};

/// Peers, and what was measured of each with so many journeys at once.
#[derive(Default)]
pub struct Peers {
    of_hops: Option<Case>,
    restate: Option<Restate>,
    of_restate: Vec<(usize, Case)>,
    of_dbos: Vec<(usize, Case)>,
}

impl Peers {
    pub fn new<const COUNT: usize>(restate: Option<Restate>, at_once: [usize; COUNT]) -> Self {
        let cases = |peer: &str, is_there: bool| {
            let case = |at_once: usize| (at_once, Case::new(format!("{peer}, {at_once} in flight")));
            if is_there { at_once.map(case).to_vec() } else { Vec::new() }
        };
        Self {
            of_hops: Some(Case::new("bare hops, 1 in flight")),
            of_restate: cases("restate", restate.is_some()),
            of_dbos: cases("dbos", dbos::is_there()),
            restate,
        }
    }

    /// Each once.
    ///
    /// # Errors
    /// When one of them fails.
    pub async fn run(&mut self, stage: &Stage, log: &Log, warm_up: Duration, measured: Duration) -> Result<()> {
        if let Some(case) = &mut self.of_hops {
            let hops = Hops::new(log, &stage.database_url()).await?;
            case.runs.push(hops.driven(stage, warm_up, measured).await?);
        }
        if let Some(restate) = &self.restate {
            for (at_once, case) in &mut self.of_restate {
                case.runs.push(restate.driven(stage, *at_once, warm_up, measured).await?);
            }
        }
        for (at_once, case) in &mut self.of_dbos {
            case.runs.push(dbos::driven(stage, *at_once, warm_up, measured).await?);
        }
        Ok(())
    }

    /// What Restate completes a second with the most at once; `None` where it was not set up.
    pub fn restate_at_most(&self) -> Option<f64> {
        self.of_restate.last().map(|(_, case)| case.median("per_s"))
    }

    /// How long the hops of a journey take at least, in ms; `None` where that was not measured.
    pub fn hops_p50_ms(&self) -> Option<f64> {
        self.of_hops.as_ref().map(|case| case.median("p50_ms"))
    }

    /// Ends them; answers what was measured.
    ///
    /// # Errors
    /// When one does not end.
    pub async fn end(self) -> Result<impl Iterator<Item = Case>> {
        if let Some(restate) = self.restate {
            restate.end().await?;
        }
        let of_peers = self.of_restate.into_iter().chain(self.of_dbos).map(|(_, case)| case);
        Ok(self.of_hops.into_iter().chain(of_peers))
    }
}
