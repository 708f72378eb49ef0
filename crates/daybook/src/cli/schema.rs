//! `daybook schema`

use anyhow::{Context, Result};
use daybook_log::subjects;
use daybook_service::Section;

use super::{Outcome, Place, topics};
use crate::connect;
use crate::output::{self, counted};

#[derive(clap::Subcommand)]
pub(crate) enum Arguments {
    /// Tell whether the registry answers, and what this build would register.
    Check,
    /// Register what the registry does not have; what is incompatible with an earlier version is refused.
    Register,
}

pub(crate) async fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    let settings = place.settings(&[Section::Log])?;
    let log = connect::log(&settings, 1)?;
    let subjects = subjects(&topics::planned()?);
    match arguments {
        Arguments::Check => {
            log.registry().ping().await.context("start the registry, or correct log.registry_url")?;
            let messages = daybook_events::all().len();
            output::line(&format!(
                "the registry answers; this build has {} under {}",
                counted(messages, "message"),
                counted(subjects.len(), "subject")
            ))?;
        }
        Arguments::Register => {
            let registered = log.registry().register(&subjects).await?;
            output::line(&format!(
                "{} added, {} known already",
                counted(registered.added, "version"),
                registered.known
            ))?;
        }
    }
    Ok(Outcome::Good)
}
