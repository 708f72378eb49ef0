//! What a measurement costs each process.

use anyhow::{Context, Result};
use daybook_stack::{Server, Stack};

use crate::{Figures, machine};

/// CPU seconds from its start on.
pub struct Meter {
    watched: Vec<Watched>,
    own: f64,
    machine: machine::Spent,
}

struct Watched {
    /// Name of the figure.
    figure: &'static str,
    pid: i32,
    before: f64,
}

impl Meter {
    /// Watches these processes, each under the name of its figure.
    ///
    /// # Errors
    /// When one of them has ended.
    pub fn start(processes: &[(&'static str, i32)]) -> Result<Self> {
        let watch = |&(figure, pid): &(&'static str, i32)| {
            Ok(Watched { figure, pid, before: machine::cpu_seconds(pid).context(figure)? })
        };
        Ok(Self {
            watched: processes.iter().map(watch).collect::<Result<_>>()?,
            own: machine::own_cpu_seconds()?,
            machine: machine::spent()?,
        })
    }

    /// Watches broker and database of a stack, and these processes besides.
    ///
    /// # Errors
    /// When one of them has ended.
    pub fn of_servers(stack: &Stack, others: &[(&'static str, i32)]) -> Result<Self> {
        let (broker, database) = (stack.running_pid(Server::Kafka)?, stack.running_pid(Server::Postgres)?);
        let servers = [("cpu_broker_s", broker), ("cpu_database_s", database)];
        Self::start(&[&servers, others].concat())
    }

    /// Notes what was spent since the start: by this process, by each that is watched, by the rest of the machine, and what its host took.
    ///
    /// # Errors
    /// When one of them has ended.
    pub fn note(&self, figures: &mut Figures) -> Result<()> {
        let own = machine::own_cpu_seconds()? - self.own;
        let machine = machine::spent()?;
        let mut others = machine.busy - self.machine.busy - own;
        figures.insert("cpu_own_s", own);
        for Watched { figure, pid, before } in &self.watched {
            let spent = machine::cpu_seconds(*pid).context(*figure)? - before;
            others -= spent;
            figures.insert(figure, spent);
        }
        figures.insert("cpu_others_s", others.max(0.0));
        figures.insert("cpu_stolen_s", machine.stolen - self.machine.stolen);
        Ok(())
    }
}
