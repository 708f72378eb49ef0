use daybook_consumer::{Aggregate, Context, Decision, Entity, Rejection, State, already, ensure, happened, reject};
use daybook_events::{OrganizationCommand, OrganizationEvent, OrganizationRegistered, RegisterOrganization};
use serde::{Deserialize, Serialize};

use crate::codes::{ORGANIZATION_EXISTS, PROFILE_INVALID};
use crate::profile;

const NAME_MAX_CHARS: usize = 200;

/// The aggregate.
pub struct Organizations;

/// An organization, as it was registered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Organization {
    pub registered: Option<OrganizationRegistered>,
}

impl State for Organization {}

impl Aggregate for Organizations {
    const NAME: &'static str = "organizations";
    type Command = OrganizationCommand;
    type Event = OrganizationEvent;
    type State = Organization;
    type Part = ();

    fn decide(
        organization: &Entity<Self>,
        command: OrganizationCommand,
        _cx: &Context,
    ) -> Result<Decision<OrganizationEvent>, Rejection> {
        let OrganizationCommand::RegisterOrganization(ask) = command;
        check(&ask)?;
        let registered = OrganizationRegistered {
            organization_id: ask.organization_id,
            name: ask.name,
            country: ask.country,
            currency: ask.currency,
            time_zone: ask.time_zone,
        };
        match &organization.registered {
            None => happened(registered),
            Some(known) if *known == registered => already(registered),
            Some(_) => reject(ORGANIZATION_EXISTS),
        }
    }

    fn evolve(organization: &mut Entity<Self>, event: &OrganizationEvent) {
        let OrganizationEvent::OrganizationRegistered(registered) = event;
        organization.registered = Some(registered.clone());
    }
}

fn check(ask: &RegisterOrganization) -> Result<(), Rejection> {
    let is_name = !ask.name.trim().is_empty()
        && ask.name.chars().count() <= NAME_MAX_CHARS
        && !ask.name.chars().any(char::is_control);
    ensure!(is_name, PROFILE_INVALID, "name");
    let is_country = ask.country.len() == 2 && ask.country.bytes().all(|b| b.is_ascii_uppercase());
    ensure!(is_country, PROFILE_INVALID, "country");
    profile::check_time_zone(&ask.time_zone)
}
