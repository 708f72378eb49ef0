//! The list of leaves: everything that `daybook run` can run. A new leaf is one more line in [`LEAVES`].

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use daybook_consumer::{Acts, Attempt, Part, Perform};
use daybook_engine::{Leaf as Erased, Spec};
use daybook_service::Section;
use daybook_service::settings::Settings;
use daybook_vault::{InMemoryKeyStore, MasterKeys, OsAmbient, Vault};
use notifications::{Mailer, SmtpServer};

use crate::contacts::Contacts;

/// Name of the façade, which is run beside the leaves.
pub const API: &str = "api";
/// Stands for all leaves and the façade.
pub const ALL: &str = "all";

/// How long a call may be invisible to the payment provider's search.
const PROVIDER_SETTLES_IN: Duration = Duration::from_secs(60);

/// A leaf by its name: what it needs, and what it consists of.
pub struct Leaf {
    pub name: &'static str,
    /// Sections of the settings beside `[log]` and `[store]`.
    pub needs: &'static [Section],
    parts: fn(&Means<'_>) -> Result<Vec<Part>>,
}

#[rustfmt::skip]
pub const LEAVES: &[Leaf] = &[
    Leaf { name: "people", needs: &[Section::Vault], parts: |means| Ok(people::parts(means.vault()?)) },
    Leaf { name: "courses", needs: &[], parts: |_| Ok(courses::parts()) },
    Leaf { name: "enrollments", needs: &[], parts: |_| Ok(enrollments::parts()) },
    Leaf { name: "payments", needs: &[Section::Payments], parts: payments_parts },
    Leaf { name: "ledger", needs: &[], parts: |_| Ok(ledger::parts()) },
    Leaf { name: "notifications", needs: &[Section::Vault, Section::Mail], parts: notifications_parts },
    Leaf { name: "operations", needs: &[], parts: |_| Ok(operations::parts()) },
    Leaf { name: "enrollment-saga", needs: &[], parts: |_| Ok(saga(enrollment_saga::saga())) },
    Leaf { name: "payment-saga", needs: &[], parts: |_| Ok(saga(payment_saga::saga())) },
    Leaf { name: "withdrawal-saga", needs: &[], parts: |_| Ok(saga(withdrawal_saga::saga())) },
];

/// What leaves are made of.
pub enum Means<'a> {
    /// To be looked at only: nothing is connected, nothing performed.
    Described,
    /// To be run.
    Live(&'a Live),
}

/// What leaves that are run reach the outside with.
pub struct Live {
    pub settings: Settings,
    /// Present where a leaf or the façade needs it.
    pub vault: Option<Arc<Vault>>,
    pub contacts: Contacts,
}

impl Live {
    /// The vault.
    ///
    /// # Errors
    /// When it is not among what the process was told to need: a mistake in the list of leaves.
    pub fn vault(&self) -> Result<Arc<Vault>> {
        self.vault.clone().context("the vault is used without being among the needs")
    }
}

impl Means<'_> {
    fn vault(&self) -> Result<Arc<Vault>> {
        match self {
            Means::Described => described_vault(),
            Means::Live(live) => live.vault(),
        }
    }
}

impl Leaf {
    pub fn parts(&self, means: &Means<'_>) -> Result<Vec<Part>> {
        (self.parts)(means).with_context(|| format!("the leaf {} cannot be made", self.name))
    }
}

/// The leaves of these names, without the façade; [`ALL`] stands for all of them.
///
/// # Errors
/// When a name is none of them.
pub fn named(names: &[String]) -> Result<Vec<&'static Leaf>> {
    let is_known = |name: &str| name == ALL || name == API || LEAVES.iter().any(|leaf| leaf.name == name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = LEAVES.iter().map(|leaf| leaf.name).chain([API, ALL]).collect();
        bail!("there is nothing named {unknown} to run, only: {}", known.join(", "));
    }
    let is_chosen = |leaf: &&Leaf| names.iter().any(|name| name == ALL || name == leaf.name);
    Ok(LEAVES.iter().filter(is_chosen).collect())
}

/// Every part of every leaf, to be looked at.
///
/// # Errors
/// When a leaf cannot be made, which its tests would have told.
pub fn described() -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for leaf in LEAVES {
        parts.extend(leaf.parts(&Means::Described)?);
    }
    Ok(parts)
}

/// What every part declares about itself.
///
/// # Errors
/// As [`described`].
pub fn specs() -> Result<Vec<Spec>> {
    Ok(described()?.iter().map(|part| part.leaf.spec().clone()).collect())
}

/// What the part of this name declares.
///
/// # Errors
/// When there is none, naming those there are.
pub fn spec(part: &str) -> Result<Spec> {
    let specs = specs()?;
    let names: Vec<&str> = specs.iter().map(|spec| spec.name).collect();
    let found = specs.iter().find(|spec| spec.name == part).cloned();
    found.with_context(|| format!("there is no part named {part}, only: {}", names.join(", ")))
}

/// What the parts of these names declare; all parts where there are no names.
///
/// # Errors
/// As [`spec`].
pub fn specs_of(parts: &[String]) -> Result<Vec<Spec>> {
    if parts.is_empty() { specs() } else { parts.iter().map(|part| spec(part)).collect() }
}

fn saga(leaf: impl Erased) -> Vec<Part> {
    vec![Part { leaf: Arc::new(leaf), performer: None, routes: Vec::new() }]
}

fn payments_parts(means: &Means<'_>) -> Result<Vec<Part>> {
    let Means::Live(live) = means else {
        return Ok(payments::parts(Unperformed));
    };
    let settings = &live.settings.payments;
    let provider = payments::stripe::Stripe::new(payments::stripe::Settings {
        url: settings.provider_url.clone(),
        api_key: settings.api_key.expose().clone(),
        timeout: Duration::from_millis(settings.timeout_ms),
        settle: PROVIDER_SETTLES_IN,
    })?;
    Ok(payments::parts(provider))
}

fn notifications_parts(means: &Means<'_>) -> Result<Vec<Part>> {
    let Means::Live(live) = means else {
        return Ok(notifications::parts(Unperformed));
    };
    let mail = &live.settings.mail;
    let server = SmtpServer::parse(mail.smtp_url.expose()).context("mail.smtp_url")?;
    let mailer = Mailer::new(live.contacts.clone(), live.vault()?, server, &mail.from).context("mail.from")?;
    Ok(notifications::parts(mailer))
}

/// Stands where an adapter would, in parts that are only looked at.
struct Unperformed;

impl<A: Acts> Perform<A> for Unperformed {
    async fn perform(&self, _request: &A::Request, _key: &str) -> Attempt<A::Answer> {
        Attempt::Refused { code: "only-described" }
    }

    async fn look_up(&self, _request: &A::Request, _key: &str) -> Attempt<A::Answer> {
        Attempt::Unknown { code: "only-described" }
    }
}

/// A vault that nothing is ever sealed in: for parts that are only looked at.
fn described_vault() -> Result<Arc<Vault>> {
    let unused = MasterKeys::parse(&["described:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="])?;
    Ok(Arc::new(Vault::new(unused, Arc::new(InMemoryKeyStore::default()), Arc::new(OsAmbient::default()))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn parts_have_names_and_control_topics_of_their_own() {
        let specs = specs().unwrap();
        let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name).collect();
        let controls: BTreeSet<&str> = specs.iter().map(|spec| spec.control.as_str()).collect();
        assert_eq!(names.len(), specs.len());
        assert_eq!(controls.len(), specs.len());
    }

    #[test]
    fn an_unknown_name_is_told_with_those_there_are() {
        let refused = named(&["coarses".to_owned()]).err().unwrap().to_string();
        assert!(refused.contains("coarses") && refused.contains("courses"), "{refused}");
        assert!(spec("nothing").unwrap_err().to_string().contains("course-catalog"));
        assert_eq!(named(&[ALL.to_owned()]).unwrap().len(), LEAVES.len());
        assert!(named(&[API.to_owned()]).unwrap().is_empty());
    }
}
