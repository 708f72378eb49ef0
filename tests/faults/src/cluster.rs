//! The whole platform in many processes on real servers, with a proxy on every link.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use daybook_stack::{Launch, Layout, Plan, Server, Silent, Stack, Urls};
use e2e::Platform;
use e2e::platform::{binary, fresh_folder, write_private};
use tokio::runtime::Runtime;
use toml::{Table, Value};

use crate::proxy::{Door, Link};

/// Three deployments; each runs in two processes, which share its partitions.
const DEPLOYMENTS: [(&str, &[&str]); 3] = [
    ("front", &["api", "people", "courses", "operations"]),
    ("learning", &["enrollments", "enrollment-saga", "withdrawal-saga", "notifications"]),
    ("money", &["payments", "payment-saga", "ledger"]),
];
const REPLICAS: usize = 2;
/// A port where nobody listens.
const NOBODY: u16 = 1;
/// The leaf that listens to clients.
const API: &str = "api";

/// A process of the platform.
pub struct Process {
    pub name: String,
    leaves: &'static [&'static str],
    /// Runs nothing but this process.
    pub stack: Mutex<Stack>,
    launch: Launch,
    layout: Layout,
    pub telemetry: String,
}

/// A link that may go bad: who, and where to.
pub struct Wire {
    pub name: String,
    /// The server at its far end; links are summed up by it.
    pub to: &'static str,
    pub link: Link,
}

/// Servers, processes and the links between them.
pub struct Cluster {
    /// Servers and provider; the judge asks it, past the proxies.
    pub platform: Mutex<Platform>,
    pub processes: Vec<Process>,
    pub wires: Vec<Wire>,
    root: PathBuf,
    /// Carries what passes the proxies. Last, because links serve as long as it lives.
    _runtime: Runtime,
}

impl Cluster {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start(name: &str, apart: bool) -> Result<Self> {
        let runtime = Runtime::new()?;
        let layout = fresh_folder(name)?;
        let root = layout.root.clone();
        let kafka = Door::open(0)?;
        let plan = Plan { kafka_proxy_port: Some(kafka.port()?), ..Plan::for_tests(&Server::INFRASTRUCTURE) };
        let stack = Stack::start(layout, &plan, &Silent)?;
        let urls = stack.urls();
        let mut wires = vec![wire("platform", "kafka", kafka, &runtime, vec![address_in(&urls.kafka)?])?];
        let mut platform = Platform::on_stack(stack)?;

        let deployments = if apart { each_leaf() } else { DEPLOYMENTS.to_vec() };
        let replicas = if apart { 1 } else { REPLICAS };
        let mut processes = Vec::new();
        // Held until all ports are given, so that no two processes get the same.
        let mut held = Vec::new();
        for (deployment, leaves) in deployments {
            for replica in 1..=replicas {
                let name = if apart { deployment.to_owned() } else { format!("{deployment}-{replica}") };
                let stack = Stack::start(fresh_process(&root, &name)?, &Plan::for_tests(&[]), &Silent)?;
                let own = stack.urls();
                held.push((
                    Door::open(address_in(&own.platform)?.port())?,
                    Door::open(port_in(&own.platform_telemetry)?)?,
                ));
                let settings = settings_of((&name, leaves), &platform, &own, &mut wires, &runtime)?;
                let file = stack.layout().root.join("daybook.toml");
                write_private(&file, &toml::to_string(&settings)?)?;
                let arguments = ["--config", &file.to_string_lossy(), "run"].map(str::to_owned);
                let launch = Launch::new(binary()?, &format!("{}/readyz", own.platform_telemetry))
                    .arguments(arguments)
                    .arguments(leaves.iter().copied());
                processes.push(Process {
                    name,
                    leaves,
                    layout: stack.layout().clone(),
                    stack: Mutex::new(stack),
                    launch,
                    telemetry: own.platform_telemetry,
                });
            }
        }
        drop(held);

        let fronts = || processes.iter().filter(|process| process.leaves.contains(&API));
        let addresses = fronts().map(Process::api).collect::<Result<Vec<_>>>()?;
        let urls = platform.stack().urls();
        let clients = Door::open(port_in(&urls.platform)?)?;
        wires.push(wire("clients", "api", clients, &runtime, addresses.clone())?);
        let webhooks = Door::open(0)?;
        let webhooks_url = with_port(&urls.platform, webhooks.port()?)?;
        wires.push(wire("provider", "webhooks", webhooks, &runtime, addresses)?);
        platform.start_provider(&webhooks_url)?;
        start_all(&processes)?;
        Ok(Self { platform: Mutex::new(platform), processes, wires, root, _runtime: runtime })
    }

    /// Places in the list of links, grouped by the server that they lead to.
    pub fn links_by_server(&self) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, wire) in self.wires.iter().enumerate() {
            groups.entry(wire.to).or_default().push(place);
        }
        groups.into_values().collect()
    }

    /// Good weather everywhere.
    pub fn calm(&self) {
        self.wires.iter().for_each(|wire| wire.link.calm());
    }

    /// Every log of every process and server, also those put aside.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn logs(&self) -> Result<Vec<PathBuf>> {
        let folders = self.processes.iter().map(|process| process.layout.root.as_path()).chain([self.root.as_path()]);
        let mut logs = Vec::new();
        for folder in folders {
            for entry in std::fs::read_dir(folder.join("logs"))? {
                logs.push(entry?.path());
            }
        }
        Ok(logs)
    }
}

impl Process {
    fn api(&self) -> Result<SocketAddr> {
        address_in(&self.stack.lock().expect("nobody panics while holding a stack").urls().platform)
    }

    /// The last lines of its log.
    pub fn log(&self) -> PathBuf {
        self.layout.log(Server::Platform)
    }
}

/// Starts all at once: each waits most of the time.
fn start_all(processes: &[Process]) -> Result<()> {
    std::thread::scope(|scope| {
        let start = |process: &Process| {
            let mut stack = process.stack.lock().expect("nobody panics while holding a stack");
            stack.launch(Server::Platform, process.launch.clone(), &Silent).context(process.name.clone())
        };
        let starting: Vec<_> = processes.iter().map(|process| scope.spawn(move || start(process))).collect();
        starting.into_iter().try_for_each(|started| started.join().expect("starting a process does not panic"))
    })
}

fn each_leaf() -> Vec<(&'static str, &'static [&'static str])> {
    DEPLOYMENTS.iter().flat_map(|(_, leaves)| leaves.chunks(1)).map(|leaf| (leaf[0], leaf)).collect()
}

fn fresh_process(root: &Path, name: &str) -> Result<Layout> {
    let folder = root.join("processes").join(name);
    let is_left = folder.exists();
    let layout = Layout::new(&folder)?;
    if is_left {
        daybook_stack::reset(layout.clone(), true)?;
    }
    Ok(layout)
}

/// The platform's settings, with a proxy of this process's own before everything but Kafka, which tells all clients one address.
/// What none of its leaves talks to is out of its reach.
fn settings_of(
    (process, leaves): (&str, &[&str]),
    platform: &Platform,
    own: &Urls,
    wires: &mut Vec<Wire>,
    runtime: &Runtime,
) -> Result<Table> {
    let mut settings = platform.settings_table();
    let kafka = wires.first().context("Kafka's link comes first")?.link.port;
    lead(&mut settings, "log", "brokers", kafka)?;
    for (section, field, to, only_leaf) in [
        ("log", "registry_url", "registry", None),
        ("store", "url", "postgres", None),
        ("cache", "redis_url", "redis", None),
        ("payments", "provider_url", "provider", Some("payments")),
        ("mail", "smtp_url", "mail", Some("notifications")),
    ] {
        if only_leaf.is_some_and(|leaf| !leaves.contains(&leaf)) {
            lead(&mut settings, section, field, NOBODY)?;
            continue;
        }
        let door = Door::open(0)?;
        let server = lead(&mut settings, section, field, door.port()?)?;
        wires.push(wire(process, to, door, runtime, vec![server])?);
    }
    let listen = |url: &str| Value::from(url.trim_start_matches("http://"));
    put(&mut settings, "http", "listen", listen(&own.platform))?;
    put(&mut settings, "telemetry", "metrics_listen", listen(&own.platform_telemetry))?;
    Ok(settings)
}

/// Leads an address in the settings to another port. Answers where it led before.
fn lead(settings: &mut Table, section: &str, field: &str, port: u16) -> Result<SocketAddr> {
    let before = settings[section][field].as_str().context("an address is text")?.to_owned();
    put(settings, section, field, Value::from(with_port(&before, port)?))?;
    Ok((Ipv4Addr::LOCALHOST, port_in(&before)?).into())
}

fn put(settings: &mut Table, section: &str, field: &str, value: Value) -> Result<()> {
    let table = settings.get_mut(section).and_then(Value::as_table_mut);
    table.with_context(|| format!("there is a section {section}"))?.insert(field.to_owned(), value);
    Ok(())
}

fn wire(from: &str, to: &'static str, door: Door, runtime: &Runtime, servers: Vec<SocketAddr>) -> Result<Wire> {
    Ok(Wire { name: format!("{from} → {to}"), to, link: door.lead_to(runtime.handle(), servers)? })
}

/// An address with its port exchanged.
fn with_port(address: &str, port: u16) -> Result<String> {
    let (before, after) = around_port(address)?;
    Ok(format!("{}{port}{}", &address[..before], &address[after..]))
}

fn port_in(address: &str) -> Result<u16> {
    let (before, after) = around_port(address)?;
    Ok(address[before..after].parse()?)
}

fn address_in(address: &str) -> Result<SocketAddr> {
    Ok((Ipv4Addr::LOCALHOST, port_in(address)?).into())
}

/// Where the digits of the port begin and end: after the last colon, for a password may have one, too.
fn around_port(address: &str) -> Result<(usize, usize)> {
    // Without the address: it may hold a password.
    let colon = address.rfind(':').context("an address without a port")?;
    let digits = address[colon + 1..].bytes().take_while(u8::is_ascii_digit).count();
    Ok((colon + 1, colon + 1 + digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_of_an_address_is_exchanged() {
        let exchanged = |address| with_port(address, 7).unwrap();
        assert_eq!(exchanged("127.0.0.1:9092"), "127.0.0.1:7");
        assert_eq!(exchanged("http://127.0.0.1:8081/apis/v7"), "http://127.0.0.1:7/apis/v7");
        assert_eq!(exchanged("postgres://a:b1@127.0.0.1:5432/a"), "postgres://a:b1@127.0.0.1:7/a");
    }

    #[test]
    fn apart_means_a_process_for_each_leaf() {
        let leaves = each_leaf();
        assert_eq!(leaves.len(), DEPLOYMENTS.iter().map(|(_, leaves)| leaves.len()).sum::<usize>());
        assert!(leaves.iter().all(|(name, leaf)| *leaf == [*name]));
    }
}
