//! What a projection offers for reading. Plain data: the API mounts it over a read-only role.

/// One `GET` route over a projection's tables.
#[derive(Clone, Debug)]
pub struct ReadRoute {
    /// As in `/courses/{course_id}`.
    pub path: &'static str,
    /// One line for the API's documentation.
    pub summary: &'static str,
    /// Name of the projection: how old the answer is follows from its progress.
    pub projection: &'static str,
    /// A `SELECT` over its tables. `$1…` are `parameters` in order; where the answer is a list, then one per
    /// cursor column (null on the first page) and last the limit.
    pub sql: &'static str,
    pub parameters: Vec<Parameter>,
    pub answer: Answer,
    pub access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: &'static str,
    pub source: Source,
    pub kind: ParameterKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A segment of the path.
    Path,
    /// A field of the query string; null where it is absent.
    Query,
    /// A claim of the token, such as `sub` or `tenant`; the request is refused where it is absent.
    Claim,
}

/// What a parameter is checked to be, and the Postgres type that it is bound as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// `uuid`
    Uuid,
    /// `text`
    Text,
    /// `bigint`
    Integer,
    /// `timestamptz`, RFC 3339 outside
    Time,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One row, or 404.
    One,
    /// A page of rows. The cursor columns are part of each row and give the order; the next page begins after theirs.
    Many { cursor: Vec<(&'static str, ParameterKind)>, page_max: u32 },
}

/// Who may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Whoever has this scope.
    Scope(&'static str),
    /// Whoever has the scope `own` and whose token's claim equals the parameter; and whoever has the scope `any`.
    Owner { parameter: &'static str, claim: &'static str, own: &'static str, any: &'static str },
}

impl Parameter {
    pub const fn path(name: &'static str, kind: ParameterKind) -> Self {
        Self { name, source: Source::Path, kind }
    }

    pub const fn query(name: &'static str, kind: ParameterKind) -> Self {
        Self { name, source: Source::Query, kind }
    }

    pub const fn claim(name: &'static str, kind: ParameterKind) -> Self {
        Self { name, source: Source::Claim, kind }
    }
}
