#![doc = include_str!("../README.md")]

pub mod codes;
mod erasure;
mod organizations;
mod profile;

use std::collections::BTreeSet;
use std::sync::Arc;

use codes::*;
use daybook_consumer::{
    Aggregate, Context, Decision, Entity, Part, Rejection, State, already, ensure, happened, reject,
};
use daybook_events::{
    ChangeContact, ContactChanged, ErasePerson, GrantRole, OrganizationId, PersonCommand, PersonErased, PersonEvent,
    PersonId, PersonRegistered, RegisterPerson, RevokeRole, RoleGranted, RoleRevoked,
};
use daybook_vault::Vault;
use serde::{Deserialize, Serialize};

pub use erasure::{EraseKey, KeyErased, KeyEraser};
pub use organizations::{Organization, Organizations};

/// The roles there are.
pub const ROLES: [&str; 6] = ["learner", "publisher", "finance", "compliance", "operator", "analyst"];

/// Roles that one person may have, over all organizations.
pub const ROLES_MAX: usize = 100;

/// The parts of this leaf. The vault destroys the keys of those who are erased.
pub fn parts(vault: Arc<Vault>) -> Vec<Part> {
    vec![Part::acting::<People>(KeyEraser::new(vault)), Part::aggregate::<Organizations>()]
}

/// The aggregate.
pub struct People;

/// A person, without anything that tells who it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Person {
    #[default]
    Unknown,
    Registered(BTreeSet<Role>),
    /// With the reason.
    Erased(String),
}

impl State for Person {}

/// A role, everywhere or within an organization.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Role {
    pub role: String,
    pub organization_id: Option<OrganizationId>,
}

impl Person {
    fn roles(&self) -> Result<&BTreeSet<Role>, Rejection> {
        match self {
            Person::Unknown => Err(PERSON_UNKNOWN.into()),
            Person::Registered(roles) => Ok(roles),
            Person::Erased(_) => Err(PERSON_ERASED.into()),
        }
    }
}

type Decided = Result<Decision<PersonEvent>, Rejection>;

impl Aggregate for People {
    const NAME: &'static str = "people";
    type Command = PersonCommand;
    type Event = PersonEvent;
    type State = Person;
    type Part = ();

    fn decide(person: &Entity<Self>, command: PersonCommand, _cx: &Context) -> Decided {
        match command {
            PersonCommand::RegisterPerson(ask) => register(person, ask),
            PersonCommand::ChangeContact(ask) => change_contact(person, ask),
            PersonCommand::GrantRole(ask) => grant(person, ask),
            PersonCommand::RevokeRole(ask) => revoke(person, ask),
            PersonCommand::ErasePerson(ask) => erase(person, ask),
        }
    }

    fn evolve(person: &mut Entity<Self>, event: &PersonEvent) {
        match event {
            PersonEvent::PersonRegistered(event) => {
                let everywhere = |role: &String| Role { role: role.clone(), organization_id: None };
                **person = Person::Registered(event.roles.iter().map(everywhere).collect());
            }
            PersonEvent::RoleGranted(event) => {
                if let Person::Registered(roles) = &mut **person {
                    roles.insert(role(&event.role, event.organization_id));
                }
            }
            PersonEvent::RoleRevoked(event) => {
                if let Person::Registered(roles) = &mut **person {
                    roles.remove(&role(&event.role, event.organization_id));
                }
            }
            PersonEvent::PersonErased(event) => **person = Person::Erased(event.reason.clone()),
            PersonEvent::ContactChanged(_) => {}
        }
    }
}

fn register(person: &Person, ask: RegisterPerson) -> Decided {
    match person {
        Person::Unknown => {}
        Person::Registered(_) => return reject(ALREADY_REGISTERED),
        Person::Erased(_) => return reject(PERSON_ERASED),
    }
    profile::check_sealed(ask.person_id, &ask.name, &ask.email, ask.phone.as_ref())?;
    profile::check_locale(&ask.language, &ask.time_zone)?;
    ensure!(ask.roles.iter().all(|role| is_role(role)), ROLE_UNKNOWN);
    happened(PersonRegistered {
        person_id: ask.person_id,
        name: ask.name,
        email: ask.email,
        phone: ask.phone,
        language: ask.language,
        time_zone: ask.time_zone,
        roles: ask.roles,
    })
}

fn change_contact(person: &Person, ask: ChangeContact) -> Decided {
    person.roles()?;
    profile::check_sealed(ask.person_id, &ask.name, &ask.email, ask.phone.as_ref())?;
    profile::check_locale(&ask.language, &ask.time_zone)?;
    happened(ContactChanged {
        person_id: ask.person_id,
        name: ask.name,
        email: ask.email,
        phone: ask.phone,
        language: ask.language,
        time_zone: ask.time_zone,
    })
}

fn grant(person: &Person, ask: GrantRole) -> Decided {
    let roles = person.roles()?;
    ensure!(is_role(&ask.role), ROLE_UNKNOWN);
    let is_held = roles.contains(&role(&ask.role, ask.organization_id));
    let granted = RoleGranted { person_id: ask.person_id, role: ask.role, organization_id: ask.organization_id };
    if is_held {
        return already(granted);
    }
    ensure!(roles.len() < ROLES_MAX, TOO_MANY_ROLES);
    happened(granted)
}

fn revoke(person: &Person, ask: RevokeRole) -> Decided {
    let roles = person.roles()?;
    let is_held = roles.contains(&role(&ask.role, ask.organization_id));
    let revoked = RoleRevoked { person_id: ask.person_id, role: ask.role, organization_id: ask.organization_id };
    if is_held { happened(revoked) } else { already(revoked) }
}

/// Accepted for whomever: the key may exist although the registration never arrived.
fn erase(person: &Person, ask: ErasePerson) -> Decided {
    let erased = |person_id: PersonId, reason: String| PersonErased { person_id, reason };
    match person {
        Person::Unknown | Person::Registered(_) => happened(erased(ask.person_id, ask.reason)),
        Person::Erased(reason) => already(erased(ask.person_id, reason.clone())),
    }
}

fn is_role(role: &str) -> bool {
    ROLES.contains(&role)
}

fn role(role: &str, organization_id: Option<OrganizationId>) -> Role {
    Role { role: role.to_owned(), organization_id }
}
