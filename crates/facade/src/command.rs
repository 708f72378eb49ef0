//! Command routes: one line each, from which everything else follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use daybook_consumer::Access;
use daybook_events::{Closing, Command, Timestamp, derive_id};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Method;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Caller;
use crate::body::Json;
use crate::codes;
use crate::openapi::Body;
use crate::problem::Problem;

/// What stands before the path of every route of the API.
pub const API_PREFIX: &str = "/api/v1";

/// A request that was let through, for the function that makes a command of it.
#[derive(Clone, Debug)]
pub struct Asked<T> {
    /// The body.
    pub body: T,
    /// Everything beside the body.
    pub about: About,
}

/// What is known of a request beside its body.
#[derive(Clone, Debug)]
pub struct About {
    /// Who asks.
    pub caller: Caller,
    /// The ids in the path, by name.
    pub ids: BTreeMap<String, Uuid>,
    /// Id of the command, and of the operation.
    pub command_id: Uuid,
    /// The revision that `If-Match` names.
    pub if_match: Option<i64>,
    /// When it came in.
    pub now: Timestamp,
}

impl About {
    /// The id in the path under this name.
    ///
    /// # Errors
    /// `internal`, when the route has no such name.
    pub fn id<I: From<Uuid>>(&self, name: &str) -> Result<I, Problem> {
        self.ids.get(name).copied().map(I::from).ok_or_else(|| {
            tracing::error!(name, "a route asks for an id that its path does not have");
            codes::INTERNAL.into()
        })
    }

    /// Id for something that the command makes: the same at each attempt.
    pub fn new_id<I: From<Uuid>>(&self, kind: &str) -> I {
        I::from(derive_id(kind, &[self.command_id.as_bytes()]))
    }
}

/// A command on its way, without its type.
pub(crate) struct Prepared {
    pub(crate) topic: &'static str,
    pub(crate) type_name: &'static str,
    pub(crate) key: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

type Maker = dyn Fn(&Json<'_>, About) -> Result<BoxFuture<'static, Result<Prepared, Problem>>, Problem> + Send + Sync;

/// A route that takes a command.
#[derive(Clone)]
pub struct CommandRoute {
    pub(crate) method: Method,
    /// Under [`API_PREFIX`], as in `/courses/{course_id}`; all names are of ids.
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) summary: &'static str,
    pub(crate) body: Body,
    pub(crate) closing: &'static [&'static str],
    pub(crate) command: &'static str,
    pub(crate) takes_if_match: bool,
    pub(crate) make: Arc<Maker>,
}

/// A route that makes a command of each request to it. `make` gets the request once its token, key and body were found good.
pub fn command<T, C, F>(
    method: Method,
    path: &'static str,
    access: Access,
    summary: &'static str,
    make: impl Fn(Asked<T>) -> F + Send + Sync + 'static,
) -> CommandRoute
where
    T: DeserializeOwned + ToSchema + Send + 'static,
    C: Command,
    F: Future<Output = Result<C, Problem>> + Send + 'static,
{
    let make = move |json: &Json<'_>, about: About| {
        let body: T = json.read()?;
        let command = make(Asked { body, about });
        Ok(async move { prepared(&command.await?) }.boxed())
    };
    CommandRoute {
        method,
        path,
        access,
        summary,
        body: Body::of::<T>(),
        closing: C::Closing::NAMES,
        command: C::FULL_NAME,
        takes_if_match: false,
        make: Arc::new(make),
    }
}

impl CommandRoute {
    /// `If-Match` is heeded here: it names the revision that the client saw.
    #[must_use]
    pub fn with_if_match(mut self) -> Self {
        self.takes_if_match = true;
        self
    }

    /// The path as clients use it.
    pub(crate) fn full_path(&self) -> String {
        format!("{API_PREFIX}{}", self.path)
    }
}

fn prepared<C: Command>(command: &C) -> Result<Prepared, Problem> {
    let mut body = Vec::new();
    daybook_events::encode(command, &mut body).map_err(|error| {
        tracing::debug!(%error, command = C::FULL_NAME, "a command does not fit its schema");
        Problem::invalid([]).detail("The request is larger than a command may be, or does not fit it.")
    })?;
    Ok(Prepared { topic: C::TOPIC, type_name: C::FULL_NAME, key: command.key_bytes(), body })
}

/// The revision in an `If-Match`: an entity tag of ours begins with it, as in `"3-5f0c"`.
///
/// # Errors
/// `if-match-invalid`.
pub(crate) fn revision_of(tag: &str) -> Result<Option<i64>, Problem> {
    if tag.trim() == "*" {
        return Ok(None);
    }
    let quoted = tag.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let revision = quoted.and_then(|tag| tag.split('-').next()?.parse().ok());
    revision.map(Some).ok_or_else(|| codes::IF_MATCH_INVALID.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_names_the_revision_that_was_seen() {
        let revision = |tag| revision_of(tag).map_err(|problem| problem.code());
        assert_eq!(revision("\"3-5f0c\""), Ok(Some(3)));
        assert_eq!(revision("\"12\""), Ok(Some(12)));
        assert_eq!(revision("*"), Ok(None));
        assert_eq!(revision("3"), Err(codes::IF_MATCH_INVALID));
        assert_eq!(revision("W/\"3\""), Err(codes::IF_MATCH_INVALID));
        assert_eq!(revision("\"abc\""), Err(codes::IF_MATCH_INVALID));
    }
}
