//! The mail that was delivered.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

/// The sink's Maildir.
#[derive(Clone)]
pub struct Mailbox(pub PathBuf);

/// A message, headers and body.
pub struct Mail {
    text: String,
}

impl Mailbox {
    /// Everything delivered to an address.
    ///
    /// # Errors
    /// When the Maildir cannot be read.
    pub fn to(&self, address: &str) -> Result<Vec<Mail>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.0.join("new"))? {
            let text = String::from_utf8_lossy(&fs::read(entry?.path())?).into_owned();
            let mail = Mail { text };
            if mail.header("To").is_some_and(|to| to.contains(address)) {
                found.push(mail);
            }
        }
        Ok(found)
    }
}

impl Mail {
    /// The value of a header, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.text.split("\r\n\r\n").next()?.split("\n\n").next()?;
        let unfolded = head.replace("\r\n", "\n").replace("\n ", " ").replace("\n\t", " ");
        let field = |line: &str| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        unfolded.lines().find_map(field)
    }

    /// Whether a text stands in it.
    pub fn contains(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}
