//! Why a command to a person or an organization is refused.

daybook_consumer::codes! {
    /// The person is registered already. Change the contact data instead.
    ALREADY_REGISTERED = "already-registered";
    /// There is no person with this id. Register the person first.
    PERSON_UNKNOWN = "person-unknown";
    /// The person was erased, for ever. A new registration needs a new id.
    PERSON_ERASED = "person-erased";
    /// A field that has to be sealed with this person's data key is not.
    NOT_SEALED = "not-sealed";
    /// There is no such role. See the schema of GrantRole.
    ROLE_UNKNOWN = "role-unknown";
    /// A person has more roles than make sense. Revoke some.
    TOO_MANY_ROLES = "too-many-roles";
    /// Language, time zone, country, currency or name does not make sense; the detail tells which.
    PROFILE_INVALID = "profile-invalid";
    /// The organization is registered already.
    ORGANIZATION_EXISTS = "organization-exists";
}
