//! People: what is personal is sealed here, before anything else is done with it.

use std::sync::Arc;

use daybook_events::{
    ChangeContact, ErasePerson, GrantRole, OrganizationId, PersonId, RegisterPerson, RevokeRole, Sealed,
};
use daybook_facade::{Access, Asked, Code, CommandRoute, FieldError, Problem, Vault, VaultError, codes, command};
use http::{Method, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

/// The longest name, e-mail address or telephone number, in bytes.
const CONTACT_MAX_BYTES: usize = 320;

/// Nothing can be sealed for somebody who was erased.
pub const PERSON_ERASED: Code =
    Code { name: "person-erased", status: StatusCode::GONE, title: "The person was erased" };

/// Whoever keeps records of people; or the person, where that makes sense.
const STAFF: Access = Access::Scope("people:write");
pub(crate) const SELF_OR_STAFF: Access =
    Access::Owner { parameter: "person_id", claim: "sub", own: "profile:write", any: "people:write" };

pub(crate) fn routes(vault: &Arc<Vault>) -> Vec<CommandRoute> {
    let (registering, changing) = (Arc::clone(vault), Arc::clone(vault));
    let register = move |asked| register(Arc::clone(&registering), asked);
    let change = move |asked| change_contact(Arc::clone(&changing), asked);
    vec![
        command(Method::POST, "/people", STAFF, "Registers a person.", register),
        command(Method::PUT, "/people/{person_id}/contact", SELF_OR_STAFF, "Changes a person's contact data.", change),
        command(Method::POST, "/people/{person_id}/role-grants", STAFF, "Grants a role.", grant_role),
        command(Method::POST, "/people/{person_id}/role-revocations", STAFF, "Revokes a role.", revoke_role),
        command(Method::POST, "/people/{person_id}/erasure", STAFF, "Erases a person, for ever.", erase),
    ]
}

/// A person to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RegisterPerson)]
struct Registration {
    /// The id under which the person signs in; made from the request when it is not given.
    #[schema(value_type = Option<Uuid>)]
    person_id: Option<PersonId>,
    /// Full name.
    name: String,
    /// E-mail address.
    #[schema(example = "someone@example.org")]
    email: String,
    /// Telephone number in E.164 form.
    phone: Option<String>,
    /// Preferred language, a BCP 47 tag.
    #[schema(example = "en-US")]
    language: String,
    /// IANA time zone.
    #[schema(example = "America/New_York")]
    time_zone: String,
    /// Roles from the start, not tied to an organization.
    #[serde(default)]
    roles: Vec<String>,
}

/// A person's contact data, all of it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangeContact)]
struct Contact {
    /// Full name.
    name: String,
    /// E-mail address.
    #[schema(example = "someone@example.org")]
    email: String,
    /// Telephone number in E.164 form.
    phone: Option<String>,
    /// Preferred language, a BCP 47 tag.
    #[schema(example = "en-US")]
    language: String,
    /// IANA time zone.
    #[schema(example = "America/New_York")]
    time_zone: String,
}

/// A role to grant or revoke.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Role {
    /// learner, publisher, finance, compliance, operator or analyst.
    #[schema(example = "learner")]
    role: String,
    /// Within which it holds; everywhere when it is not given.
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
}

/// Why a person is erased.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ErasePerson)]
struct Erasure {
    /// person-request, retention-over or court-order.
    #[schema(example = "person-request")]
    reason: String,
}

async fn register(vault: Arc<Vault>, asked: Asked<Registration>) -> Result<RegisterPerson, Problem> {
    let Asked { body, about } = asked;
    let person_id = body.person_id.unwrap_or_else(|| about.new_id("person"));
    let sealer = Sealer { vault: &vault, person_id };
    Ok(RegisterPerson {
        person_id,
        name: sealer.seal(Field::Name, &body.name).await?,
        email: sealer.seal(Field::Email, &body.email).await?,
        phone: sealer.seal_phone(body.phone.as_deref()).await?,
        language: body.language,
        time_zone: body.time_zone,
        roles: body.roles,
    })
}

async fn change_contact(vault: Arc<Vault>, asked: Asked<Contact>) -> Result<ChangeContact, Problem> {
    let Asked { body, about } = asked;
    let person_id = about.id("person_id")?;
    let sealer = Sealer { vault: &vault, person_id };
    Ok(ChangeContact {
        person_id,
        name: sealer.seal(Field::Name, &body.name).await?,
        email: sealer.seal(Field::Email, &body.email).await?,
        phone: sealer.seal_phone(body.phone.as_deref()).await?,
        language: body.language,
        time_zone: body.time_zone,
    })
}

async fn grant_role(asked: Asked<Role>) -> Result<GrantRole, Problem> {
    let Asked { body, about } = asked;
    let person_id = about.id("person_id")?;
    Ok(GrantRole { person_id, role: body.role, organization_id: body.organization_id })
}

async fn revoke_role(asked: Asked<Role>) -> Result<RevokeRole, Problem> {
    let Asked { body, about } = asked;
    let person_id = about.id("person_id")?;
    Ok(RevokeRole { person_id, role: body.role, organization_id: body.organization_id })
}

async fn erase(asked: Asked<Erasure>) -> Result<ErasePerson, Problem> {
    let Asked { body, about } = asked;
    Ok(ErasePerson { person_id: about.id("person_id")?, reason: body.reason })
}

/// The sealed fields of a person.
#[derive(Clone, Copy)]
enum Field {
    Name,
    Email,
    Phone,
}

impl Field {
    /// What the vault binds the value to: part of the contract, it never changes.
    fn label(self) -> &'static str {
        match self {
            Field::Name => "people.person.name",
            Field::Email => "people.person.email",
            Field::Phone => "people.person.phone",
        }
    }

    fn pointer(self) -> &'static str {
        match self {
            Field::Name => "/name",
            Field::Email => "/email",
            Field::Phone => "/phone",
        }
    }

    /// Nobody can look at it afterwards, so its form is checked now.
    fn check(self, text: &str) -> Result<(), Problem> {
        let is_right = match self {
            Field::Name => !text.trim().is_empty() && !text.chars().any(char::is_control),
            Field::Email => is_email(text),
            Field::Phone => is_phone(text),
        };
        if is_right && text.len() <= CONTACT_MAX_BYTES {
            return Ok(());
        }
        Err(Problem::invalid([FieldError::new(self.pointer(), "does not have the right form")]))
    }
}

/// Something before and after one at sign, and no white space: whether it is somebody's only a letter will tell.
fn is_email(text: &str) -> bool {
    let mut sides = text.split('@');
    let both =
        sides.next().is_some_and(|local| !local.is_empty()) && sides.next().is_some_and(|host| host.contains('.'));
    both && sides.next().is_none() && !text.chars().any(|letter| letter.is_whitespace() || letter.is_control())
}

/// E.164: a plus and up to fifteen digits.
fn is_phone(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0')
}

struct Sealer<'a> {
    vault: &'a Vault,
    person_id: PersonId,
}

impl Sealer<'_> {
    async fn seal(&self, field: Field, text: &str) -> Result<Sealed, Problem> {
        field.check(text)?;
        let sealed = self.vault.seal(self.person_id.uuid(), field.label(), text.as_bytes()).await;
        sealed.map_err(|error| match error {
            VaultError::Erased { .. } => PERSON_ERASED.into(),
            error => {
                tracing::warn!(%error, "contact data cannot be sealed");
                codes::UNAVAILABLE.into()
            }
        })
    }

    async fn seal_phone(&self, phone: Option<&str>) -> Result<Option<Sealed>, Problem> {
        match phone {
            Some(phone) => self.seal(Field::Phone, phone).await.map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contact_data_has_to_have_its_form() {
        assert!(is_email("someone@example.org"));
        for text in ["", "someone", "@example.org", "a@b@c.org", "a b@example.org", "a@host", "a\r\n@example.org"] {
            assert!(!is_email(text), "{text}");
        }
        assert!(is_phone("+14155550100"));
        for text in ["", "+", "14155550100", "+1415555010012345", "+0155", "+1 415 555 0100"] {
            assert!(!is_phone(text), "{text}");
        }
    }
}
