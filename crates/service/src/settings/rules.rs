//! What each setting must be: one table, a row per setting. A test holds it against the defaults.

use std::net::SocketAddr;

use daybook_vault::MasterKeys;
use toml::{Table, Value};
use tracing_subscriber::EnvFilter;

use super::sources::is_unset;
use super::{Finding, Section};

/// HS256 wants a key at least as long as its hash (RFC 7518, 3.2).
const TOKEN_SECRET_MIN_BYTES: i64 = 32;

const PREFIX_MAX_BYTES: usize = 32;

#[derive(Debug, Clone, Copy)]
enum Rule {
    AnyText,
    /// Lower-case letters, digits, and the given separators; names of topics and schemas start with it.
    Prefix(&'static str),
    /// `host:port`, comma-separated.
    HostPorts,
    SocketAddress,
    /// Schemes, and an example.
    Url(&'static [&'static str], &'static str),
    Origins,
    OneOf(&'static [&'static str]),
    LogFilter,
    /// From, to.
    Range(i64, i64),
    Ratio,
    AtLeastBytes(i64),
    MasterKeys,
    Mailbox,
}

const WEB: &[&str] = &["http", "https"];
const POSTGRES: &[&str] = &["postgres", "postgresql"];
const POSTGRES_EXAMPLE: &str = "postgres://user:password@127.0.0.1:5432/daybook";

#[rustfmt::skip]
const RULES: &[(&str, Rule)] = &[
    ("log.brokers", Rule::HostPorts),
    ("log.registry_url", Rule::Url(WEB, "http://127.0.0.1:8081/apis/ccompat/v7")),
    ("log.topic_prefix", Rule::Prefix(".-")),
    ("store.url", Rule::Url(POSTGRES, POSTGRES_EXAMPLE)),
    ("store.read_only_url", Rule::Url(POSTGRES, POSTGRES_EXAMPLE)),
    ("store.schema_prefix", Rule::Prefix("_")),
    ("store.max_connections", Rule::Range(1, 1000)),
    ("cache.redis_url", Rule::Url(&["redis", "rediss"], "redis://127.0.0.1:6379")),
    ("vault.master_keys", Rule::MasterKeys),
    ("http.listen", Rule::SocketAddress),
    ("http.public_url", Rule::Url(WEB, "https://api.example.org")),
    ("http.max_body_bytes", Rule::Range(1024, 64 * 1024 * 1024)),
    ("http.request_timeout_ms", Rule::Range(100, 300_000)),
    ("http.max_connections", Rule::Range(1, 65_536)),
    ("http.rate_limit_requests", Rule::Range(1, 1_000_000_000)),
    ("http.rate_limit_window_seconds", Rule::Range(1, 86_400)),
    ("http.backlog_target_seconds", Rule::Range(1, 3_600)),
    ("http.cors_origins", Rule::Origins),
    ("auth.issuer", Rule::AnyText),
    ("auth.audience", Rule::AnyText),
    ("auth.shared_secret", Rule::AtLeastBytes(TOKEN_SECRET_MIN_BYTES)),
    ("auth.jwks_url", Rule::Url(WEB, "https://id.example.org/.well-known/jwks.json")),
    ("payments.provider_url", Rule::Url(WEB, "https://api.provider.example")),
    ("payments.api_key", Rule::AnyText),
    ("payments.webhook_secret", Rule::AtLeastBytes(16)),
    ("payments.key_lifetime_seconds", Rule::Range(0, 31 * 86_400)),
    ("payments.timeout_ms", Rule::Range(10, 300_000)),
    ("mail.smtp_url", Rule::Url(&["smtp", "smtps"], "smtp://127.0.0.1:1025")),
    ("mail.from", Rule::Mailbox),
    ("telemetry.log_level", Rule::LogFilter),
    ("telemetry.log_format", Rule::OneOf(&["json", "text"])),
    ("telemetry.otlp_endpoint", Rule::Url(WEB, "http://127.0.0.1:4318")),
    ("telemetry.sample_ratio", Rule::Ratio),
    ("telemetry.metrics_listen", Rule::SocketAddress),
    ("engine.batch_max_records", Rule::Range(1, 100_000)),
    ("engine.queue_max_bytes", Rule::Range(65_536, 1 << 30)),
    ("engine.cache_max_bytes", Rule::Range(0, 1 << 36)),
    ("engine.unpublished_max", Rule::Range(1, 10_000_000)),
    ("engine.held_max_per_partition", Rule::Range(1, 100_000_000)),
];

/// Settings that have no default and without which their section is useless.
const NEEDED: &[(Section, &str)] = &[
    (Section::Log, "log.brokers"),
    (Section::Log, "log.registry_url"),
    (Section::Store, "store.url"),
    (Section::Vault, "vault.master_keys"),
    (Section::Payments, "payments.provider_url"),
    (Section::Payments, "payments.api_key"),
    (Section::Payments, "payments.webhook_secret"),
    (Section::Mail, "mail.smtp_url"),
    (Section::Mail, "mail.from"),
];

/// Settings that may not be emptied although they have a default.
const NEVER_EMPTY: &[&str] = &[
    "http.listen",
    "http.public_url",
    "auth.issuer",
    "auth.audience",
    "telemetry.log_level",
    "telemetry.log_format",
    "telemetry.metrics_listen",
];

/// Adds a finding for each setting of `table` that breaks its rule, or is missing from a section that is `needed`.
pub(super) fn check(table: &Table, needed: &[Section], findings: &mut Vec<Finding>) {
    let is_needed = |setting: &str| {
        let row = |(section, name): &(Section, &str)| *name == setting && needed.contains(section);
        NEVER_EMPTY.contains(&setting) || NEEDED.iter().any(row)
    };
    for (setting, rule) in RULES {
        // What could not be read has its finding already; a second one would only confuse.
        if findings.iter().any(|finding| same_setting(&finding.setting, setting)) {
            continue;
        }
        let Some(value) = lookup(table, setting) else {
            continue;
        };
        if !is_unset(value) {
            findings.extend(rule.problem(value).map(|problem| Finding::new(*setting, problem)));
        } else if is_needed(setting) {
            let problem = format!("is not set; it must be {}", rule.wanted());
            findings.push(Finding::new(*setting, problem));
        }
    }
    if needed.contains(&Section::Auth)
        && ["auth.shared_secret", "auth.jwks_url"].iter().all(|setting| lookup(table, setting).is_none_or(is_unset))
        && !findings.iter().any(|finding| finding.setting.starts_with("auth.shared_secret"))
    {
        let problem = "is not set, nor is auth.jwks_url; set one of the two";
        findings.push(Finding::new("auth.shared_secret", problem));
    }
}

/// A finding may be about the setting, its variable or its file.
fn same_setting(found: &str, setting: &str) -> bool {
    let found = found.to_ascii_lowercase().replace("daybook_", "").replacen("__", ".", 1);
    found.strip_suffix("_file").unwrap_or(&found) == setting
}

fn lookup<'t>(table: &'t Table, setting: &str) -> Option<&'t Value> {
    let (section, field) = setting.split_once('.')?;
    table.get(section)?.get(field)
}

impl Rule {
    /// What is wrong with a value that is set.
    fn problem(self, value: &Value) -> Option<String> {
        if let Rule::MasterKeys = self {
            let refused = MasterKeys::parse(&list(value)).err();
            return refused.map(|error| error.to_string());
        }
        (!self.holds(value)).then(|| format!("must be {}", self.wanted()))
    }

    fn holds(self, value: &Value) -> bool {
        let text = value.as_str().unwrap_or_default();
        match self {
            Rule::AnyText | Rule::MasterKeys => true,
            Rule::Prefix(separators) => is_prefix(text, separators),
            Rule::HostPorts => text.split(',').all(|part| is_host_port(part.trim())),
            Rule::SocketAddress => text.parse::<SocketAddr>().is_ok(),
            Rule::Url(schemes, _) => is_url(text, schemes),
            Rule::Origins => list(value).iter().all(|item| is_origin(item)),
            Rule::OneOf(choices) => choices.contains(&text),
            Rule::LogFilter => EnvFilter::try_new(text).is_ok(),
            Rule::Range(from, to) => value.as_integer().is_some_and(|number| (from..=to).contains(&number)),
            Rule::Ratio => value.as_float().is_some_and(|ratio| (0.0..=1.0).contains(&ratio)),
            Rule::AtLeastBytes(least) => text.len() as i64 >= least,
            Rule::Mailbox => is_mailbox(text),
        }
    }

    /// Completes "must be …".
    fn wanted(self) -> String {
        match self {
            Rule::AnyText => "given".to_owned(),
            Rule::Prefix(separators) => {
                format!("at most {PREFIX_MAX_BYTES} of a-z, 0-9 and {separators:?}, starting with a letter")
            }
            Rule::HostPorts => "host:port, several separated by commas, such as 127.0.0.1:9092".to_owned(),
            Rule::SocketAddress => "an IP address and a port, such as 127.0.0.1:8080".to_owned(),
            Rule::Url(_, example) => format!("an address such as {example}"),
            Rule::Origins => "origins without a path, such as https://app.example.org".to_owned(),
            Rule::OneOf(choices) => choices.join(" or "),
            Rule::LogFilter => {
                "a level, such as info, or levels by module, such as info,daybook_engine=debug".to_owned()
            }
            Rule::Range(from, to) => format!("from {from} to {to}"),
            Rule::Ratio => "from 0 to 1".to_owned(),
            Rule::AtLeastBytes(least) => format!("at least {least} bytes long"),
            Rule::MasterKeys => "at least one \"id:key\", the key being 32 random bytes in base64".to_owned(),
            Rule::Mailbox => "a sender, such as Daybook <no-reply@example.org>".to_owned(),
        }
    }
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn is_prefix(text: &str, separators: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || separators.contains(letter);
    text.len() <= PREFIX_MAX_BYTES
        && text.starts_with(|letter: char| letter.is_ascii_lowercase())
        && text.chars().all(allowed)
}

fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let port_is_right = port.parse::<u16>().is_ok_and(|port| port > 0);
        port_is_right && !host.is_empty() && !host.contains(['/', ' ', '@'])
    })
}

/// Only what a mistake would look like is told from what the driver behind it will accept: scheme, and something after it.
fn is_url(text: &str, schemes: &[&str]) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        schemes.contains(&scheme) && !rest.is_empty() && !rest.contains(char::is_whitespace)
    })
}

fn is_origin(text: &str) -> bool {
    is_url(text, WEB) && text.matches('/').count() == 2
}

fn is_mailbox(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    address
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !address.contains([' ', '<', '>']))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::settings::{DEFAULTS, Settings, Sources};

    #[test]
    fn every_setting_has_a_default_and_a_rule() {
        let defaults: Table = DEFAULTS.parse().unwrap();
        let documented: BTreeSet<String> = defaults
            .iter()
            .flat_map(|(section, fields)| {
                let fields = fields.as_table().unwrap().keys();
                fields.map(move |field| format!("{section}.{field}"))
            })
            .filter(|name| !name.ends_with("_file"))
            .collect();
        let ruled: BTreeSet<String> = RULES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(documented, ruled);
    }

    #[test]
    fn the_defaults_are_accepted_where_nothing_is_needed() {
        let settings = Settings::load(&Sources::default(), &[]).unwrap();
        assert_eq!(settings.engine.held_max_per_partition, 100_000);
        assert!(settings.cache.redis_url.is_none());
    }

    #[test]
    fn every_needed_setting_is_told_at_once() {
        let refused = Settings::load(&Sources::default(), &Section::ALL).unwrap_err().to_string();
        for (_, setting) in NEEDED {
            assert!(refused.contains(&format!("{setting}: is not set")), "{refused}");
        }
        assert!(refused.contains("auth.shared_secret: is not set, nor is auth.jwks_url"), "{refused}");
    }

    #[test]
    fn what_looks_like_an_address_is_told_from_what_does_not() {
        assert!(is_host_port("[::1]:9092") && is_host_port("kafka:9092"));
        assert!(!is_host_port("kafka") && !is_host_port(":9092") && !is_host_port("kafka:0"));
        assert!(!is_host_port("http://kafka:9092"));
        assert!(is_origin("https://app.example.org") && !is_origin("https://app.example.org/"));
        assert!(is_mailbox("a@b") && is_mailbox("Daybook <a@b>") && !is_mailbox("Daybook"));
        assert!(is_prefix("test-7.", ".-") && !is_prefix("7", ".-") && !is_prefix("a_", ".-"));
    }
}
