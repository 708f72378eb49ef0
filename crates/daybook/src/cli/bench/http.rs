//! `http`: commands that the façade accepts, against a bare handler that makes the same records.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use daybook_bench::{
    BARE_PATH, Case, Closed, FACADE_PATH, Figures, Post, Report, Settings as Asked, latencies, publication, serve_bare,
};
use daybook_events::{Message, OperationAccepted, PublishCourse};
use daybook_log::{Log, Start};
use daybook_service::{Section, ids};
use daybook_stack::Server;
use http::StatusCode;
use tokio::net::TcpListener;

use super::platform::{Beside, Platform, known};
use super::staff::TOKEN_LIFETIME;
use crate::cli::token::signed;
use crate::cli::{Outcome, Place, local};
use crate::connect;

/// No Redis: each process counts its callers by itself.
const SERVERS: [Server; 3] = [Server::Postgres, Server::Kafka, Server::Registry];
/// Connections, each with one request under way.
const AT_ONCE: usize = 64;
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(10);
const SCOPES: &str = "courses:write organizations:any";

/// Serves the bare handler where the settings have the API listen.
pub(crate) async fn serve(place: &Place) -> Result<Outcome> {
    let settings = place.settings(&[Section::Log])?;
    let log = known(connect::log(&settings, 1)?).await?;
    let listener = TcpListener::bind(settings.http.listen).await.context("the bare handler cannot listen")?;
    serve_bare(listener, &log, SCOPES).await?;
    Ok(Outcome::Good)
}

pub(super) async fn measure(asked: &Asked) -> Result<Report> {
    let mut platform = Platform::set(asked, &SERVERS).await?;
    // Whoever has run before has made the tables that the API compares requests with.
    platform.run(&["operations"])?;
    platform.run(&["api"])?;
    let bare = platform.run_beside(|urls, file| Ok(local::verb(file, &urls.platform)?.arguments(["bare"])))?;
    let log = platform.log().await?;
    let mut rival = Rivals { asked, platform, bare, log, token: Arc::default() };
    rival.token = signed(&rival.platform.settings()?, ids::random(), None, SCOPES, TOKEN_LIFETIME)?.into();
    let (mut facade, mut handler, mut both) = (Case::new("façade"), Case::new("bare"), Case::new("façade / bare"));
    for _ in 0..asked.reps {
        let (of_bare, bare_bytes) = rival.driven(rival.bare.address()?, BARE_PATH).await?;
        let (of_facade, facade_bytes) = rival.driven(rival.platform.api()?, FACADE_PATH).await?;
        ensure!(bare_bytes == facade_bytes, "records differ: {bare_bytes:?} and {facade_bytes:?} bytes");
        both.runs.push(Figures::from([("rate", of_facade["per_s"] / of_bare["per_s"])]));
        facade.runs.push(of_facade);
        handler.runs.push(of_bare);
    }
    let mut report = Report::new("http");
    report.at_least("accepted by the façade, of the bare handler", both.median("rate"), 0.6, 0.8);
    report.cases = vec![handler, facade, both];
    Ok(report)
}

struct Rivals<'a> {
    asked: &'a Asked,
    platform: Platform,
    bare: Beside,
    log: Arc<Log>,
    token: Arc<str>,
}

impl Rivals<'_> {
    /// Full load on one of them. Also answers how many bytes key, header and value of its last command and acceptance have.
    async fn driven(&self, address: SocketAddr, path: &'static str) -> Result<(Figures, [[usize; 3]; 2])> {
        let before = daybook_bench::records(&self.log, PublishCourse::TOPIC).await?;
        let token = Arc::clone(&self.token);
        let make =
            move || Post { path, token: Some(Arc::clone(&token)), idempotency_key: ids::random(), body: publication() };
        let (warm_up, measured) = (self.asked.time(WARM_UP), self.asked.time(MEASURED));
        let meter = self.platform.meter(&[("cpu_bare_s", self.bare.pid()?)])?;
        let load = Closed { address, at_once: AT_ONCE, warm_up, measured, expected: StatusCode::ACCEPTED };
        let (took_ms, sent) = load.run(make).await?;
        let mut figures = Figures::new();
        meter.note(&mut figures)?;
        figures.insert("per_s", took_ms.len() as f64 / measured.as_secs_f64());
        figures.extend(latencies(took_ms));
        let made = daybook_bench::records(&self.log, PublishCourse::TOPIC).await? - before;
        ensure!(made == sent, "{sent} commands were accepted, and {made} are in the book");
        let last = [self.last_bytes(PublishCourse::TOPIC).await?, self.last_bytes(OperationAccepted::TOPIC).await?];
        Ok((figures, last))
    }

    async fn last_bytes(&self, topic: &str) -> Result<[usize; 3]> {
        let mut tail = self.log.tail(topic, Start::Last(1), false).await?;
        let record = tail.next_raw().await?.context("the topic is empty")?;
        let bytes = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        Ok([bytes(record.key.as_deref()), bytes(record.header.as_deref()), bytes(record.value.as_deref())])
    }
}
