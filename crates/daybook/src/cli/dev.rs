//! `daybook dev`: the local stack. Servers are `daybook-stack`'s business; what is here makes the platform run on them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use daybook_service::{Drain, ids};
use daybook_stack::{
    Layout, Lifetime, Plan, Ports, Progress, Purpose, Server, Stack, down, progress_for_terminal, reset, status,
};

use super::{Outcome, local, waited};
use crate::leaves;
use crate::output;

/// How often `up` looks after the servers while it stays.
const WATCH: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder for data, logs, secrets and state.
    #[arg(long, global = true, default_value = ".daybook", value_name = "FOLDER")]
    root: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Start what does not run yet, and tell where things are. Stays until Ctrl-C.
    Up(Up),
    /// Stop what was started here, and nothing else.
    Down,
    /// Show what runs.
    Status {
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Stop everything and delete all data.
    Reset {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(clap::Args)]
struct Up {
    /// Return when all is ready, and leave it running.
    #[arg(long)]
    detach: bool,
    /// Only the servers that the platform stands on: no payment provider, no platform.
    #[arg(long, value_name = "WHAT")]
    only: Option<Only>,
    /// Take free ports instead of the usual ones.
    #[arg(long)]
    free_ports: bool,
    /// Size the servers for measuring.
    #[arg(long)]
    for_measurement: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    Infrastructure,
}

pub(crate) fn carry_out(arguments: Arguments) -> Result<Outcome> {
    let layout = Layout::new(&arguments.root)?;
    match arguments.verb {
        Verb::Up(up) => start(layout, &up)?,
        Verb::Down => down(layout)?,
        Verb::Status { json } => return Ok(Outcome::good_if(status(layout, json)?)),
        Verb::Reset { yes } => reset(layout, yes)?,
    }
    Ok(Outcome::Good)
}

fn start(layout: Layout, up: &Up) -> Result<()> {
    let progress = progress_for_terminal();
    let wanted = wanted(up.only);
    let ran_already = Stack::attach(layout.clone()).is_ok_and(|stack| runs(&stack, &wanted));
    let plan = Plan {
        servers: Server::INFRASTRUCTURE.to_vec(),
        ports: if up.free_ports { Ports::Free } else { Ports::Usual },
        purpose: if up.for_measurement { Purpose::Measurement } else { Purpose::Development },
        lifetime: Lifetime::Handle,
        kafka_proxy_port: None,
    };
    let mut stack = Stack::start(layout, &plan, progress.as_ref())?;
    if up.only.is_none() {
        launch(&mut stack, progress.as_ref())?;
    }
    print_places(&stack, up.only)?;
    if up.detach {
        return Ok(stack.release()?);
    }
    if ran_already {
        output::line("\nEverything was running already; stop it with: ./dev down")?;
        return Ok(stack.release()?);
    }
    output::line("\nPress Ctrl-C to stop everything.")?;
    stay(stack, &wanted, progress.as_ref())
}

fn wanted(only: Option<Only>) -> Vec<Server> {
    match only {
        Some(Only::Infrastructure) => Server::INFRASTRUCTURE.to_vec(),
        None => Server::ALL.to_vec(),
    }
}

fn runs(stack: &Stack, servers: &[Server]) -> bool {
    servers.iter().all(|server| stack.pid(*server).is_some())
}

/// Starts provider and platform on the servers that are ready.
fn launch(stack: &mut Stack, progress: &dyn Progress) -> Result<()> {
    let settings = local::settings_file(stack);
    local::write_settings(&settings, &local::settings_of(stack))?;
    waited(local::make_topics(&settings))?;
    let provider = local::provider(stack, &settings)?;
    stack.launch(Server::Provider, provider, progress)?;
    let platform = local::leaves(&stack.urls(), &settings, &[leaves::ALL])?;
    stack.launch(Server::Platform, platform, progress)?;
    Ok(())
}

/// Where things are, without a secret.
fn print_places(stack: &Stack, only: Option<Only>) -> Result<()> {
    let urls = stack.urls();
    let root = &stack.layout().root;
    let without_password = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
        _ => url.to_owned(),
    };
    let mut places = vec![
        ("Kafka", urls.kafka.clone()),
        ("Schema registry", urls.registry.clone()),
        ("Postgres", without_password(&urls.postgres)),
        ("Redis", without_password(&urls.redis)),
        ("Mail", format!("{} into {}", urls.smtp, shown(&urls.mail_dir))),
        ("Logs", shown(&root.join("logs"))),
        ("Secrets", shown(&root.join("secrets.toml"))),
    ];
    if only.is_none() {
        let ours = [
            ("API", format!("{}/docs", urls.platform)),
            ("OpenAPI", format!("{}/openapi.json", urls.platform)),
            ("Health", format!("{}/health", urls.platform_telemetry)),
            ("Metrics", format!("{}/metrics", urls.platform_telemetry)),
            ("Payment provider", urls.provider.clone()),
            ("Settings", shown(&local::settings_file(stack))),
        ];
        places.splice(0..0, ours);
    }
    output::line("")?;
    for (name, place) in places {
        output::line(&format!("{name:<17} {place}"))?;
    }
    if only.is_none() { print_next(&urls.platform) } else { Ok(()) }
}

/// What to try next.
fn print_next(platform: &str) -> Result<()> {
    output::line("\nTry next")?;
    let person = ids::random();
    for (command, what) in [
        ("./dev demo", "a few hundred learners enroll"),
        ("target/debug/daybook doctor", "is everything well?"),
        ("target/debug/daybook lag", "what waits?"),
    ] {
        output::line(&format!("  {command:<32}  {what}"))?;
    }
    output::line(&format!("  curl {platform}/api/v1/courses"))?;
    output::line(&format!(
        "  target/debug/daybook token --person {person} \\\n      --scope \"enrollments:write enrollments:read payments:read\""
    ))
}

/// A path as it is shortest from here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let relative = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    relative.unwrap_or(path).display().to_string()
}

/// Stays with the servers until Ctrl-C, or until all of them were stopped elsewhere.
fn stay(stack: Stack, servers: &[Server], progress: &dyn Progress) -> Result<()> {
    let is_interrupted = waited(async {
        let drain = Drain::default();
        drain.on_signals()?;
        Ok(watch(&stack, servers, &drain).await?)
    })?;
    if is_interrupted { Ok(stack.stop(progress)?) } else { output::line("Everything was stopped.") }
}

/// Tells of servers that end. Answers whether it was interrupted; otherwise all servers have ended.
async fn watch(stack: &Stack, servers: &[Server], drain: &Drain) -> Result<bool> {
    let mut running: Vec<Server> = servers.to_vec();
    while !running.is_empty() {
        tokio::select! {
            () = drain.begun() => return Ok(true),
            () = tokio::time::sleep(WATCH) => {}
        }
        let (alive, ended): (Vec<Server>, Vec<Server>) =
            running.iter().partition(|server| stack.pid(**server).is_some());
        for server in ended {
            let log = shown(&stack.layout().log(server));
            output::line(&format!("{server} has ended; see {log}; `./dev up` starts it again"))?;
        }
        running = alive;
    }
    Ok(false)
}
