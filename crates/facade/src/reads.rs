//! Read routes: what projections declare, mounted with owners, pages, entity tags and age.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, Request};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use daybook_consumer::{Access, Answer, ParameterKind, Part, ReadRoute, Source};
use daybook_events::Timestamp;
use daybook_store::Param;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::accept::{Ids, deadline_of};
use crate::admission::caller_of;
use crate::auth::{Caller, admit};
use crate::codes;
use crate::command::API_PREFIX;
use crate::edge::{Deadline, id_in_path};
use crate::facade::Shared;
use crate::freshness::has_reached;
use crate::guard::check_text;
use crate::operation::OperationRow;
use crate::operations::{known, unreadable};
use crate::problem::Problem;

/// Says how old an answer is, in milliseconds.
pub const LAG: HeaderName = HeaderName::from_static("daybook-lag-ms");

/// The longest that an answer is held back for `after_operation`.
pub const AFTER_OPERATION_MAX: Duration = Duration::from_secs(10);

/// Names in the query string that every list has, and every route.
pub(crate) const CURSOR: &str = "cursor";
pub(crate) const LIMIT: &str = "limit";
pub(crate) const AFTER_OPERATION: &str = "after_operation";

/// The longest cursor, in bytes.
const CURSOR_MAX_BYTES: usize = 1_024;

/// A read route, and the topic that its projection applies.
#[derive(Clone, Debug)]
pub struct ReadMount {
    /// As the projection declares it; its path stands under [`API_PREFIX`].
    pub route: ReadRoute,
    /// What the projection reads.
    pub topic: &'static str,
}

impl ReadMount {
    /// Those of these parts, in their order.
    pub fn of(parts: &[Part]) -> Vec<ReadMount> {
        let of_part = |part: &Part| {
            let topic = part.leaf.spec().input;
            part.routes.iter().map(move |route| ReadMount { route: route.clone(), topic }).collect::<Vec<_>>()
        };
        parts.iter().flat_map(of_part).collect()
    }

    /// The path as clients use it.
    pub(crate) fn full_path(&self) -> String {
        format!("{API_PREFIX}{}", self.route.path)
    }
}

/// A request's parameters, by name.
struct Asked {
    ids: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
    caller: Option<Caller>,
}

/// Answers a request to a read route.
pub(crate) async fn answer(shared: Arc<Shared>, mount: Arc<ReadMount>, ids: Ids, request: Request) -> Response {
    match try_answer(&shared, &mount, ids, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn try_answer(shared: &Shared, mount: &ReadMount, ids: Ids, request: Request) -> Result<Response, Problem> {
    let Deadline(deadline) = deadline_of(&request);
    let caller = caller_of(request.extensions());
    let asked = Asked { ids: ids.into_iter().collect(), query: query_of(mount, &request)?, caller };
    admit(&mount.route.access, asked.caller.as_ref(), |name| asked.id(name))?;
    let params = params_of(&mount.route, &asked)?;
    if let Some(operation) = asked.query.get(AFTER_OPERATION) {
        let operation = Uuid::try_parse(operation).map_err(|_| bad_parameter(AFTER_OPERATION))?;
        let by = deadline.min(Instant::now() + AFTER_OPERATION_MAX);
        wait_for(shared, mount, &asked, operation, by).await?;
    }
    // Asked before the rows: what comes in between makes them fresher, not staler, than told.
    let applied = shared.reads.applied(mount.route.projection).await.map_err(unreadable)?;
    let rows = shared.reads.rows(mount.route.sql, params).await.map_err(unreadable)?;
    let age = shared.freshness.age(mount.topic, &applied).await;
    let found = found(&mount.route, &asked, rows)?;
    Ok(response(&mount.route, request.headers(), found, age))
}

impl Asked {
    fn id(&self, name: &str) -> Option<Uuid> {
        let text = self.ids.get(name).or_else(|| self.query.get(name))?;
        Uuid::try_parse(text).ok()
    }

    fn limit(&self, page_max: u32) -> Result<u32, Problem> {
        let Some(text) = self.query.get(LIMIT) else {
            return Ok(page_max);
        };
        let limit = text.parse().ok().filter(|limit| (1..=page_max).contains(limit));
        limit.ok_or_else(|| bad_parameter(LIMIT).detail(format!("limit must be 1 to {page_max}.")))
    }
}

fn bad_parameter(name: &str) -> Problem {
    Problem::new(codes::PARAMETER_INVALID).detail(format!("{name} does not have the right form."))
}

/// The query string; what the route does not know is refused, because a filter that is passed over shows too much.
fn query_of(mount: &ReadMount, request: &Request) -> Result<BTreeMap<String, String>, Problem> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
    let Query(pairs) = pairs.map_err(|_| Problem::new(codes::PARAMETER_INVALID))?;
    let is_list = matches!(mount.route.answer, Answer::Many { .. });
    let is_known = |name: &str| {
        let declared = mount.route.parameters.iter();
        let mut declared = declared.filter(|parameter| parameter.source == Source::Query);
        name == AFTER_OPERATION || (is_list && [CURSOR, LIMIT].contains(&name)) || declared.any(|own| own.name == name)
    };
    let mut query = BTreeMap::new();
    for (name, value) in pairs {
        check_text(&value)?;
        if !is_known(&name) {
            return Err(
                Problem::new(codes::PARAMETER_INVALID).detail("There is a parameter that this route does not have.")
            );
        }
        if query.insert(name.clone(), value).is_some() {
            return Err(Problem::new(codes::PARAMETER_INVALID).detail(format!("{name} stands there twice.")));
        }
    }
    Ok(query)
}

fn params_of(route: &ReadRoute, asked: &Asked) -> Result<Vec<Param>, Problem> {
    let mut params = Vec::new();
    for parameter in &route.parameters {
        let param = match parameter.source {
            Source::Path => {
                let text = asked.ids.get(parameter.name).ok_or(codes::NOT_FOUND)?;
                if parameter.kind == ParameterKind::Uuid {
                    id_in_path(text)?;
                }
                param(parameter.kind, Some(text)).ok_or(codes::NOT_FOUND)?
            }
            Source::Query => {
                let text = asked.query.get(parameter.name).map(String::as_str);
                param(parameter.kind, text).ok_or_else(|| bad_parameter(parameter.name))?
            }
            Source::Claim => {
                let claim = asked.caller.as_ref().and_then(|caller| caller.claim(parameter.name));
                let claim = claim.ok_or_else(|| {
                    Problem::new(codes::NOT_YOURS).detail(format!("The token has no {}.", parameter.name))
                })?;
                Param::Uuid(Some(claim))
            }
        };
        params.push(param);
    }
    if let Answer::Many { cursor, page_max } = &route.answer {
        params.extend(cursor_params(cursor, asked.query.get(CURSOR))?);
        // One more than is shown, to know whether there are more.
        params.push(Param::Bigint(Some(i64::from(asked.limit(*page_max)?) + 1)));
    }
    Ok(params)
}

/// `None`: the text is not of the kind.
fn param(kind: ParameterKind, text: Option<&str>) -> Option<Param> {
    Some(match kind {
        ParameterKind::Uuid => Param::Uuid(text.map(Uuid::try_parse).transpose().ok()?),
        ParameterKind::Text => Param::Text(text.map(str::to_owned)),
        ParameterKind::Integer => Param::Bigint(text.map(str::parse).transpose().ok()?),
        ParameterKind::Time => Param::Timestamp(text.map(str::parse::<Timestamp>).transpose().ok()?),
    })
}

/// Where the last page ended, as the client got it from us.
fn cursor_params(columns: &[(&'static str, ParameterKind)], cursor: Option<&String>) -> Result<Vec<Param>, Problem> {
    let invalid = || Problem::new(codes::CURSOR_INVALID);
    let Some(cursor) = cursor else {
        let nothing = columns.iter().map(|(_, kind)| param(*kind, None));
        return nothing.collect::<Option<_>>().ok_or_else(invalid);
    };
    if cursor.len() > CURSOR_MAX_BYTES {
        return Err(invalid());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
    let values: Vec<String> = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    if values.len() != columns.len() {
        return Err(invalid());
    }
    let params = columns.iter().zip(&values).map(|((_, kind), value)| {
        check_text(value).ok()?;
        param(*kind, Some(value))
    });
    params.collect::<Option<_>>().ok_or_else(invalid)
}

fn cursor_after(columns: &[(&'static str, ParameterKind)], row: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let values: Vec<String> = columns.iter().map(|(name, _)| text(&row[*name])).collect();
    URL_SAFE_NO_PAD.encode(json!(values).to_string())
}

/// What an answer shows.
struct Found {
    body: Value,
    /// Of the resource, where it has one: entity tags begin with it.
    revision: Option<i64>,
    /// Address of the next page.
    next: Option<String>,
}

fn found(route: &ReadRoute, asked: &Asked, mut rows: Vec<Value>) -> Result<Found, Problem> {
    match &route.answer {
        Answer::One => {
            let row = rows.into_iter().next().ok_or(codes::NOT_FOUND)?;
            Ok(Found { revision: row["revision"].as_i64(), body: row, next: None })
        }
        Answer::Many { cursor, page_max } => {
            let limit = asked.limit(*page_max)? as usize;
            let more = rows.len() > limit;
            rows.truncate(limit);
            let next = rows.last().filter(|_| more).map(|row| cursor_after(cursor, row));
            let link = next.as_ref().map(|next| next_page(route, asked, next));
            Ok(Found { body: json!({"items": rows, "next": next}), revision: None, next: link })
        }
    }
}

fn next_page(route: &ReadRoute, asked: &Asked, cursor: &str) -> String {
    let mut path = format!("{API_PREFIX}{}", route.path);
    for (name, value) in &asked.ids {
        path = path.replace(&format!("{{{name}}}"), value);
    }
    let kept = asked.query.iter().filter(|(name, _)| ![CURSOR, AFTER_OPERATION].contains(&name.as_str()));
    let mut address = format!("{path}?{CURSOR}={cursor}");
    for (name, value) in kept {
        let value: String = value.bytes().map(percent_encoded).collect();
        address.push_str(&format!("&{name}={value}"));
    }
    address
}

fn percent_encoded(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    }
}

fn response(route: &ReadRoute, headers: &HeaderMap, found: Found, age: Option<Duration>) -> Response {
    let text = found.body.to_string();
    let tag = entity_tag(&text, found.revision);
    let is_known = headers.get_all(header::IF_NONE_MATCH).iter().any(|field| names_tag(field, &tag));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], text).into_response()
    };
    let cache = if route.access == Access::Public { "no-cache" } else { "private, no-cache" };
    let mut fields = vec![(header::ETAG, tag), (header::CACHE_CONTROL, cache.to_owned())];
    fields.push((header::VARY, header::AUTHORIZATION.to_string()));
    fields.extend(age.map(|age| (LAG, age.as_millis().to_string())));
    fields.extend(found.next.map(|next| (header::LINK, format!("<{next}>; rel=\"next\""))));
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Another one whenever anything in the answer is another.
fn entity_tag(text: &str, revision: Option<i64>) -> String {
    let digest = hex::encode(&Sha256::digest(text)[..16]);
    match revision {
        Some(revision) => format!("\"{revision}-{digest}\""),
        None => format!("\"{digest}\""),
    }
}

/// Whether an `If-None-Match` names the tag; compared weakly, as RFC 9110 asks.
fn names_tag(field: &HeaderValue, tag: &str) -> bool {
    let names =
        |text: &str| text.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag);
    field.to_str().is_ok_and(names)
}

/// Waits until the operation is closed and the projection has applied all that was in its topic then.
async fn wait_for(shared: &Shared, mount: &ReadMount, asked: &Asked, id: Uuid, by: Instant) -> Result<(), Problem> {
    let too_late = || Problem::new(codes::NOT_YET_VISIBLE).header(header::RETRY_AFTER, "1");
    let caller = asked.caller.as_ref().ok_or(codes::TOKEN_MISSING)?;
    let mut waiter = shared.wakes.waiter(id);
    let closed = || async {
        match known(shared, id).await.map_err(unreadable)? {
            Some(row) if row.is_visible_to(caller) => Ok(Some(row).filter(OperationRow::is_closed)),
            _ => Err(bad_parameter(AFTER_OPERATION).detail("There is no such operation.")),
        }
    };
    waiter.find(by, closed).await?.ok_or_else(too_late)?;
    let ends = timeout_at(by, shared.freshness.ends_now(mount.topic)).await;
    let ends = ends.map_err(|_| too_late())?.map_err(unreadable)?;
    let applied = || async {
        let applied = shared.reads.applied(mount.route.projection).await.map_err(unreadable)?;
        Ok::<_, Problem>(has_reached(&applied, &ends).then_some(()))
    };
    shared.wakes.waiter(id).find(by, applied).await?.ok_or_else(too_late)
}
