//! The secrets of a development stack: made once, kept in a file that only its owner reads.

use std::fs;
use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::Layout;
use crate::error::{Context, Error, Result};
use crate::layout::write_whole;

/// Secrets for servers on loopback. Not printable on purpose: they have no business in logs.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    pub postgres_password: String,
    pub redis_password: String,
    /// Signs development tokens.
    pub token_secret: String,
    /// 32 bytes in base64: wraps the data keys of persons.
    pub vault_master_key: String,
    pub provider_api_key: String,
    pub provider_webhook_secret: String,
}

impl Secrets {
    /// Reads the secrets of this stack, or makes them if there are none yet.
    pub(crate) fn load_or_create(layout: &Layout) -> Result<Self> {
        let path = layout.secrets_file();
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| Error::Unreadable {
                path,
                // Only the bare message: the full text would quote the line, and with it a secret.
                reason: error.message().to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(layout),
            Err(error) => Err(error).context("read", &path),
        }
    }

    fn create(layout: &Layout) -> Result<Self> {
        let secrets = Self {
            postgres_password: password()?,
            redis_password: password()?,
            token_secret: password()?,
            vault_master_key: BASE64_STANDARD.encode(random_bytes::<32>()?),
            provider_api_key: format!("sk_test_{}", password()?),
            provider_webhook_secret: format!("whsec_{}", password()?),
        };
        let path = layout.secrets_file();
        let text = toml::to_string(&secrets)
            .map_err(|error| Error::Unreadable { path: path.clone(), reason: error.to_string() })?;
        write_whole(&path, &text, 0o600)?;
        Ok(secrets)
    }
}

/// 256 random bits as 64 characters that need no quoting anywhere: in a URL, in SQL, in a configuration file.
fn password() -> Result<String> {
    Ok(hex::encode(random_bytes::<32>()?))
}

pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(bytes)
}
