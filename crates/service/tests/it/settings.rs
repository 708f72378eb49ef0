//! Settings: where they come from, what is refused and how it is told.

use std::path::PathBuf;

use daybook_service::settings::LogFormat;
use daybook_service::{Section, Settings, SettingsError, Sources};

const MASTER_KEY: &str = "2026:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const TOKEN_SECRET: &str = "0123456789abcdef0123456789abcdef";

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A complete file in a folder that lives as long as the test.
fn file(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("daybook.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn load(text: &str, pairs: &[(&str, &str)], needed: &[Section]) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources::of(Some(file(&folder, text)), variables(pairs));
    Settings::load(&sources, needed)
}

fn refusal(text: &str, pairs: &[(&str, &str)], needed: &[Section]) -> String {
    load(text, pairs, needed).unwrap_err().to_string()
}

const COMPLETE: &str = r#"
[log]
brokers = "kafka-1:9092, kafka-2:9092"
registry_url = "http://registry:8081/apis/ccompat/v7"
[store]
url = "postgres://daybook:hunter2@db/daybook"
[vault]
master_keys = ["2026:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
[auth]
shared_secret = "0123456789abcdef0123456789abcdef"
[payments]
provider_url = "http://provider:4010"
api_key = "sk_test_hunter2"
webhook_secret = "whsec_hunter2_hunter2"
[mail]
smtp_url = "smtp://user:hunter2@mail:25"
from = "Daybook <no-reply@example.org>"
[telemetry]
sample_ratio = 1
"#;

#[test]
fn a_complete_file_is_accepted_and_printed_without_secrets() {
    let settings = load(COMPLETE, &[], &Section::ALL).unwrap();
    assert_eq!(settings.log.brokers, "kafka-1:9092, kafka-2:9092");
    assert_eq!(settings.store.url.expose(), "postgres://daybook:hunter2@db/daybook");
    assert_eq!(settings.telemetry.sample_ratio, 1.0);
    let printed = settings.redacted().unwrap() + &format!("{settings:?}");
    assert!(printed.contains("url = \"(redacted)\""), "{printed}");
    for secret in ["hunter2", TOKEN_SECRET, MASTER_KEY] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let pairs = [
        ("DAYBOOK_LOG__BROKERS", "localhost:9999"),
        ("DAYBOOK_STORE__MAX_CONNECTIONS", "7"),
        ("DAYBOOK_HTTP__CORS_ORIGINS", "https://a.example, https://b.example"),
        ("DAYBOOK_TELEMETRY__LOG_FORMAT", "text"),
        ("DAYBOOK_SERVICE_HOST", "10.0.0.1"),
        ("DAYBOOK_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    let settings = load(COMPLETE, &pairs, &Section::ALL).unwrap();
    assert_eq!(settings.log.brokers, "localhost:9999");
    assert_eq!(settings.store.max_connections, 7);
    assert_eq!(settings.http.cors_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(settings.telemetry.log_format, LogFormat::Text);
}

#[test]
fn everything_wrong_is_told_at_once_with_what_would_be_right() {
    let text = r#"
[log]
brokers = "kafka"
broker = "kafka:9092"
[store]
max_connections = 0
[http]
listen = 8080
[telemetry]
log_format = "xml"
log_level = "info,=,"
[engin]
batch_max_records = 1
"#;
    let pairs = [
        ("DAYBOOK_STORE__MAX_CONECTIONS", "7"),
        ("DAYBOOK_STORE_URL", "postgres://x/y"),
        ("DAYBOOK_HTTP__MAX_BODY_BYTES", "lots"),
    ];
    let told = refusal(text, &pairs, &[Section::Log]);
    for line in [
        "11 settings are wrong:",
        "log.brokers: must be host:port, several separated by commas, such as 127.0.0.1:9092",
        "log.broker: there is no such setting; did you mean log.brokers?",
        "log.registry_url: is not set; it must be an address such as http://",
        "store.max_connections: must be from 1 to 1000",
        "http.listen: must be a text",
        "telemetry.log_format: must be json or text",
        "telemetry.log_level: must be a level",
        "engin.batch_max_records: there is no such setting; did you mean engine.batch_max_records?",
        "DAYBOOK_STORE__MAX_CONECTIONS: there is no such setting; did you mean DAYBOOK_STORE__MAX_CONNECTIONS?",
        "DAYBOOK_STORE_URL: there is no such setting; did you mean DAYBOOK_STORE__URL?",
        "DAYBOOK_HTTP__MAX_BODY_BYTES: must be a whole number",
    ] {
        assert!(told.contains(line), "missing: {line}\nin: {told}");
    }
}

#[test]
fn a_secret_is_read_from_a_file_and_only_from_one_place() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{TOKEN_SECRET}\n")).unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, format!("{MASTER_KEY}\n\n")).unwrap();
    let (secret, keys) = (secret.to_str().unwrap(), keys.to_str().unwrap());
    let pairs = [("DAYBOOK_AUTH__SHARED_SECRET_FILE", secret), ("DAYBOOK_VAULT__MASTER_KEYS_FILE", keys)];

    let settings = load("", &pairs, &[Section::Auth, Section::Vault]).unwrap();
    assert_eq!(settings.auth.shared_secret.unwrap().expose(), TOKEN_SECRET);
    assert_eq!(*settings.vault.master_keys.expose(), [MASTER_KEY]);

    let told = refusal(COMPLETE, &pairs, &[]);
    assert!(told.contains("auth.shared_secret_file: is set together with auth.shared_secret"), "{told}");

    let told = refusal("", &[("DAYBOOK_STORE__URL_FILE", "/does/not/exist")], &[Section::Store]);
    assert!(told.contains("a setting is wrong:\n  store.url_file: /does/not/exist cannot be read"), "{told}");
}

#[test]
fn no_refusal_shows_a_secret() {
    let text = r#"
[store]
url = "mysql://hunter2"
[vault]
master_keys = ["a:hunter2"]
[auth]
shared_secret = "hunter2"
"#;
    let told = refusal(text, &[], &Section::ALL);
    assert!(told.contains("vault.master_keys: master key `a`"), "{told}");
    assert!(told.contains("auth.shared_secret: must be at least 32 bytes long"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");

    let told = refusal("[store]\nurl = hunter2\n", &[], &[]);
    assert!(told.contains("line 2"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let sources = Sources::of(Some("/does/not/exist.toml".into()), Vec::new());
    let told = Settings::load(&sources, &[]).unwrap_err().to_string();
    assert!(told.starts_with("the settings file /does/not/exist.toml cannot be read"), "{told}");
}
