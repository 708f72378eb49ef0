//! No secret and no person's data in any log: everything that was used is looked for in everything that was printed.

use std::path::Path;

use anyhow::{Context, Result};
use daybook_stack::Secrets;
use e2e::{Claims, Platform};
use uuid::Uuid;

use crate::load::{PERSON_DOMAIN, PERSON_NAME};

/// A text that must not be in a log, and what it is. Only the latter is ever printed.
pub struct Needle {
    what: &'static str,
    text: String,
}

/// Everything to look for. Where many values have a part in common that nothing else has, that part.
///
/// # Errors
/// When a token is not what it should be.
pub fn needles(platform: &Platform) -> Result<Vec<Needle>> {
    let Secrets {
        postgres_password,
        redis_password,
        token_secret,
        vault_master_key,
        provider_api_key,
        provider_webhook_secret,
    } = platform.stack().secrets();
    let token = Claims::of(Uuid::new_v4(), "").sign(token_secret);
    let token_head = token.split('.').next().context("a token has three parts")?;
    let needles = [
        ("the password of Postgres", postgres_password.as_str()),
        ("the password of Redis", redis_password),
        ("the secret that signs tokens", token_secret),
        ("the vault's master key", vault_master_key),
        ("the provider's key", provider_api_key),
        ("the secret that signs webhooks", provider_webhook_secret),
        ("a bearer token", token_head),
        ("a payment token", "pm_card_"),
        ("a person's name", PERSON_NAME),
        ("a person's mail address", PERSON_DOMAIN),
    ];
    Ok(needles.map(|(what, text)| Needle { what, text: text.to_owned() }).into())
}

/// What was found where it must not be. Answers also how many bytes were searched.
///
/// # Errors
/// When a log cannot be read.
pub fn search(needles: &[Needle], logs: &[impl AsRef<Path>]) -> Result<(Vec<String>, u64)> {
    let mut found = Vec::new();
    let mut searched = 0;
    for path in logs {
        let path = path.as_ref();
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        searched += bytes.len() as u64;
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in text.lines().enumerate() {
            let there = needles.iter().filter(|needle| line.contains(&needle.text));
            found.extend(there.map(|needle| format!("{} in {}:{}", needle.what, path.display(), number + 1)));
        }
    }
    Ok((found, searched))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_log_is_found_and_not_repeated() {
        let folder = std::env::temp_dir().join(Uuid::new_v4().to_string());
        std::fs::create_dir(&folder).unwrap();
        let log = folder.join("process.log");
        std::fs::write(&log, "fine\nmail to abc@learners.example failed\n").unwrap();
        let needles = [
            Needle { what: "an address", text: "learners.example".to_owned() },
            Needle { what: "a key", text: "sk_test".to_owned() },
        ];
        let (found, searched) = search(&needles, &[&log]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("an address in ") && found[0].ends_with(":2"), "{found:?}");
        assert!(!found[0].contains("abc@"));
        assert!(searched > 30);
    }
}
