//! Real servers, sized for measuring, and what a benchmark needs on them.

use std::sync::Arc;

use anyhow::Result;
use daybook_engine::Spec;
use daybook_events::{Message as _, RecordParked};
use daybook_log::{Log, plan, subjects};
use daybook_service::ids;
use daybook_stack::{Layout, Plan, Purpose, Server, Silent, Stack};
use daybook_store::Store;

use crate::{Meter, Settings};

const SERVERS: [Server; 3] = [Server::Postgres, Server::Kafka, Server::Registry];

/// The servers of one benchmark.
pub struct Stage {
    stack: Stack,
}

impl Stage {
    /// Starts the servers, or finds those of a stack that runs.
    ///
    /// # Errors
    /// When a server does not start.
    pub fn set(settings: &Settings) -> Result<Self> {
        let stack = match &settings.stack {
            Some(folder) => Stack::attach(Layout::new(folder)?)?,
            None => {
                let plan = Plan { purpose: Purpose::Measurement, ..Plan::for_tests(&SERVERS) };
                Stack::start(Layout::temporary()?, &plan, &Silent)?
            }
        };
        Ok(Self { stack })
    }

    /// A log of its own: topics and schemas for these parts, under a prefix that nobody else has.
    ///
    /// # Errors
    /// When broker or registry refuse.
    pub async fn log(&self, specs: &[Spec], types: &[&str]) -> Result<Arc<Log>> {
        let urls = self.stack.urls();
        let log = Log::open(daybook_log::Settings {
            brokers: urls.kafka,
            registry: urls.registry,
            topic_prefix: format!("b{}.", ids::random().simple()),
            ..daybook_log::Settings::default()
        })?;
        let named = |name: &str| name == RecordParked::TOPIC || specs.iter().any(|spec| uses(spec, name));
        let topics: Vec<_> = plan(specs).into_iter().filter(|topic| named(&topic.name)).collect();
        log.admin().apply(&topics).await?;
        let wanted: Vec<_> =
            subjects(&topics).into_iter().filter(|subject| types.contains(&subject.full_name)).collect();
        log.registry().register(&wanted).await?;
        Ok(Arc::new(log))
    }

    /// A database without tables.
    ///
    /// # Errors
    /// When it is out of reach.
    pub async fn store(&self) -> Result<Store> {
        let mut settings = daybook_store::Settings::of(self.stack.urls().postgres);
        settings.schema_prefix = format!("b{}_", &ids::random().simple().to_string()[..10]);
        Ok(Store::connect(settings).await?)
    }

    /// Where the database is; holds a password.
    pub fn database_url(&self) -> String {
        self.stack.urls().postgres
    }

    /// Begins to measure what this process, the servers and these other processes cost.
    ///
    /// # Errors
    /// When one of them has ended.
    pub fn meter(&self, others: &[(&'static str, i32)]) -> Result<Meter> {
        Meter::of_servers(&self.stack, others)
    }
}

fn uses(spec: &Spec, topic: &str) -> bool {
    topic == spec.input || topic == spec.control || spec.outputs.contains(&topic)
}
