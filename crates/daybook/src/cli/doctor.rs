//! `daybook doctor`

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use daybook_engine::Spec;
use daybook_log::{Difference, Log};
use daybook_service::settings::Settings;
use daybook_service::{Section, SettingsError};
use daybook_store::{Seen, SeenTopic, Store, check_identity};
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Outcome, Place, topics};
use crate::dependencies::ping_redis;
use crate::output::{self, counted};
use crate::{connect, leaves};

/// How long one check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(15);
/// How long a server may take to answer a question over HTTP, or to greet.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// What a mail server greets with (RFC 5321).
const SMTP_READY: &[u8] = b"220";
/// The most names that one line lists.
const NAMES_MAX: usize = 3;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    good: bool,
    /// What was found, or what is wrong.
    found: String,
    /// What to do about it.
    cure: Option<String>,
}

/// What is wrong, and what to do about it.
struct Trouble {
    wrong: String,
    cure: String,
}

type Checked = Result<String, Trouble>;

fn trouble<E: std::fmt::Display>(cure: impl Into<String>) -> impl FnOnce(E) -> Trouble {
    let cure = cure.into();
    move |error| Trouble { wrong: format!("{error:#}"), cure }
}

pub(crate) async fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    let mut findings = Vec::new();
    match place.settings(&Section::ALL) {
        Err(error) => {
            let wrong = Trouble { wrong: format!("{error:#}"), cure: settings_cure(&error).to_owned() };
            findings.push(finding("settings", Err(wrong)));
        }
        Ok(settings) => {
            findings.push(finding("settings", Ok("complete".to_owned())));
            for (check, work) in checks(&settings)? {
                let late = |_| Trouble { wrong: "no answer in time".to_owned(), cure: "is it overloaded?".to_owned() };
                let checked = timeout(CHECK_LIMIT, work).await.map_err(late).flatten();
                findings.push(finding(check, checked));
            }
        }
    }
    if arguments.json {
        output::json(&findings)?;
    } else {
        findings.iter().try_for_each(print)?;
        let bad = findings.iter().filter(|finding| !finding.good).count();
        output::line(&format!("\n{}, {bad} of them failed", counted(findings.len(), "check")))?;
    }
    Ok(Outcome::good_if(findings.iter().all(|finding| finding.good)))
}

fn settings_cure(error: &anyhow::Error) -> &'static str {
    match error.downcast_ref::<SettingsError>() {
        Some(SettingsError::Wrong(_)) => "correct these settings; service/defaults.toml documents all of them",
        _ => "start the local stack with `./dev up`, or name a settings file with --config",
    }
}

fn finding(check: &'static str, checked: Checked) -> Finding {
    match checked {
        Ok(found) => Finding { check, good: true, found, cure: None },
        Err(Trouble { wrong, cure }) => Finding { check, good: false, found: wrong, cure: Some(cure) },
    }
}

fn print(finding: &Finding) -> Result<()> {
    let mark = if finding.good { "ok  " } else { "FAIL" };
    output::line(&format!("{mark}  {:<11} {}", finding.check, finding.found))?;
    if let Some(cure) = &finding.cure {
        output::line(&format!("      {:<11} → {cure}", ""))?;
    }
    Ok(())
}

fn checks(settings: &Settings) -> Result<Vec<(&'static str, BoxFuture<'_, Checked>)>> {
    let log = connect::log(settings, 1)?;
    let (kafka, registry, for_topics, for_parts) = (log.clone(), log.clone(), log.clone(), log);
    Ok(vec![
        ("kafka", Box::pin(async move { check_kafka(&kafka, settings).await })),
        ("topics", Box::pin(async move { check_topics(&for_topics).await })),
        ("registry", Box::pin(async move { check_registry(&registry, settings).await })),
        ("postgres", Box::pin(check_postgres(settings))),
        ("parts", Box::pin(async move { check_parts(&for_parts, settings).await })),
        ("redis", Box::pin(check_redis(settings))),
        ("provider", Box::pin(check_provider(settings))),
        ("mail", Box::pin(check_mail(settings))),
        ("api", Box::pin(check_api(settings))),
    ])
}

async fn check_kafka(log: &Log, settings: &Settings) -> Checked {
    let cure = format!("start Kafka, or correct log.brokers ({})", settings.log.brokers);
    let cluster = log.admin().cluster_id().await.map_err(trouble(cure))?;
    Ok(format!("cluster {cluster} at {}", settings.log.brokers))
}

async fn check_topics(log: &Log) -> Checked {
    let plan = topics::planned().map_err(trouble("report this: a leaf cannot be made"))?;
    let differences = log.admin().diff(&plan).await.map_err(trouble("see kafka"))?;
    let wrong: Vec<&str> = differences.iter().map(topic_of).collect();
    if wrong.is_empty() {
        return Ok(format!("{} as in the contract", counted(plan.len(), "topic")));
    }
    let is_missing = differences.iter().all(|difference| matches!(difference, Difference::Missing { .. }));
    let cure = if is_missing { "daybook topics apply" } else { "daybook topics diff tells what to do with each" };
    Err(Trouble { wrong: format!("{} of {} differ: {}", wrong.len(), plan.len(), few(&wrong)), cure: cure.to_owned() })
}

fn topic_of(difference: &Difference) -> &str {
    match difference {
        Difference::Missing { topic } | Difference::Partitions { topic, .. } => topic,
    }
}

/// The first few names, and how many more there are.
fn few(names: &[&str]) -> String {
    let shown = names[..names.len().min(NAMES_MAX)].join(", ");
    match names.len().checked_sub(NAMES_MAX) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

async fn check_registry(log: &Log, settings: &Settings) -> Checked {
    let url = &settings.log.registry_url;
    let cure = format!("start the registry, or correct log.registry_url ({url})");
    log.registry().ping().await.map_err(trouble(cure))?;
    Ok(url.clone())
}

async fn connected(settings: &Settings) -> Result<Store, Trouble> {
    connect::store(settings).await.map_err(trouble("start Postgres, or correct store.url"))
}

async fn check_postgres(settings: &Settings) -> Checked {
    let store = connected(settings).await?;
    store.ping().await.map_err(trouble("start Postgres, or correct store.url"))?;
    store.reads().await.map_err(trouble("correct store.read_only_url, or leave it out"))?;
    Ok("answers".to_owned())
}

/// Whether the database of every part belongs to this log.
async fn check_parts(log: &Log, settings: &Settings) -> Checked {
    let store = connected(settings).await?;
    let specs = leaves::specs().map_err(trouble("report this: a leaf cannot be made"))?;
    let mut never_started = Vec::new();
    for spec in &specs {
        let stored = connect::if_started(store.identity(spec.name).await).map_err(trouble("see postgres"))?.flatten();
        let Some(stored) = stored else {
            never_started.push(spec.name);
            continue;
        };
        let seen = seen(log, spec).await.map_err(trouble("see kafka and topics"))?;
        // The refusal names its cure itself.
        check_identity(spec.name, &stored, &seen).map_err(trouble("as it says"))?;
    }
    if never_started.is_empty() {
        return Ok(format!("{} belong to this log", counted(specs.len(), "part")));
    }
    let wrong = format!("{} of {} were never started: {}", never_started.len(), specs.len(), few(&never_started));
    Err(Trouble { wrong, cure: "daybook run all".to_owned() })
}

/// Cluster and topics as they are now; where the topics end is of no matter here.
async fn seen(log: &Log, spec: &Spec) -> Result<Seen> {
    let names = [spec.input.to_owned(), spec.control.clone()];
    let (cluster_id, found) = tokio::try_join!(log.admin().cluster_id(), log.admin().describe(&names))?;
    let topic = |name: &String| {
        let found = found.iter().find(|topic| topic.name == *name).with_context(|| format!("{name} is missing"))?;
        Ok::<_, anyhow::Error>(SeenTopic { name: name.clone(), id: found.id.to_string(), offsets: Vec::new() })
    };
    let [data, control] = &names;
    Ok(Seen { cluster_id, data: topic(data)?, control: topic(control)? })
}

async fn check_redis(settings: &Settings) -> Checked {
    let Some(url) = &settings.cache.redis_url else {
        return Ok("not set; waiting requests ask the database instead".to_owned());
    };
    ping_redis(url).await.map_err(trouble("start Redis, or correct cache.redis_url; nothing is lost meanwhile"))?;
    Ok("answers".to_owned())
}

/// Any answer is a sign of life: only a sandbox says that it is ready.
async fn check_provider(settings: &Settings) -> Checked {
    let url = &settings.payments.provider_url;
    let cure = format!("start the provider (`daybook sandbox`), or correct payments.provider_url ({url})");
    let answer = answered(url).await.map_err(trouble(cure))?;
    Ok(format!("{url} answers ({answer})"))
}

async fn check_mail(settings: &Settings) -> Checked {
    let cure = "start the mail server, or correct mail.smtp_url";
    let greeting = async {
        let url = settings.mail.smtp_url.expose();
        let (_, place) = url.split_once("://").context("mail.smtp_url has no scheme")?;
        let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
        let mut connection = TcpStream::connect(place.trim_end_matches('/')).await?;
        if url.starts_with("smtps") {
            // It greets within TLS only; that it takes connections is all that is looked at here.
            return Ok("takes connections".to_owned());
        }
        let mut greeting = [0; SMTP_READY.len()];
        connection.read_exact(&mut greeting).await?;
        if greeting == SMTP_READY { Ok("greets".to_owned()) } else { bail!("it does not greet as a mail server") }
    };
    in_time(greeting).await.map_err(trouble(cure))
}

async fn check_api(settings: &Settings) -> Checked {
    let url = format!("{}/readyz", settings.http.public_url.trim_end_matches('/'));
    let cure = "start it with `daybook run api` (or all); if it runs, its log and its /health tell what it waits for";
    match answered(&url).await.map_err(trouble(cure))? {
        200 => Ok(format!("{} is ready", settings.http.public_url)),
        status => Err(Trouble { wrong: format!("{url} answers {status}"), cure: cure.to_owned() }),
    }
}

/// The status of any answer.
async fn answered(url: &str) -> Result<u16> {
    let client =
        reqwest::Client::builder().timeout(ANSWER_LIMIT).redirect(reqwest::redirect::Policy::none()).build()?;
    Ok(client.get(url).send().await.map_err(reqwest::Error::without_url)?.status().as_u16())
}

async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(ANSWER_LIMIT, work).await.context("no answer in time")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        assert_eq!(few(&["a", "b"]), "a, b");
        assert_eq!(few(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
