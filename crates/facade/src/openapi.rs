//! The description of the API (OpenAPI 3.1), made from its routes.

use std::collections::BTreeMap;

use daybook_consumer::{Access, Answer, ParameterKind, ReadRoute, Source};
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use crate::codes::{self, Code};
use crate::command::CommandRoute;
use crate::operation::Operation;
use crate::problem::PROBLEM_JSON;
use crate::reads::{AFTER_OPERATION, CURSOR, LIMIT, ReadMount};

/// Name of the one way to say who one is.
const BEARER: &str = "bearer";

/// A body's schema, and those that it refers to.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    name: String,
    schemas: Vec<(String, Value)>,
}

impl Body {
    pub(crate) fn of<T: ToSchema>() -> Self {
        let mut referred = Vec::new();
        T::schemas(&mut referred);
        referred.push((T::name().into_owned(), <T as PartialSchema>::schema()));
        let schemas = referred.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
        Self { name: T::name().into_owned(), schemas }
    }

    fn reference(&self) -> Value {
        json!({"$ref": format!("#/components/schemas/{}", self.name)})
    }
}

/// Describes the routes.
pub(crate) fn document(title: &str, public_url: &str, commands: &[CommandRoute], reads: &[ReadMount]) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    let operation = Body::of::<Operation>();
    schemas.extend(operation.schemas.iter().cloned());
    schemas.insert("Problem".to_owned(), problem_schema());
    for route in commands {
        schemas.extend(route.body.schemas.iter().cloned());
        let method = route.method.as_str().to_lowercase();
        paths.entry(route.full_path()).or_default().insert(method, of_command(route, &operation));
    }
    for mount in reads {
        paths.entry(mount.full_path()).or_default().insert("get".to_owned(), of_read(&mount.route));
    }
    for (path, described) in of_operations(&operation) {
        paths.entry(path).or_default().insert("get".to_owned(), described);
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": title, "version": env!("CARGO_PKG_VERSION"), "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": public_url}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {BEARER: {"type": "http", "scheme": "bearer", "bearerFormat": "at+jwt"}},
        },
    })
}

fn of_command(route: &CommandRoute, operation: &Body) -> Value {
    let mut parameters = path_parameters(route.path, |_| json!({"type": "string", "format": "uuid"}));
    parameters.push(header(
        "Idempotency-Key",
        true,
        "The same for each attempt at the same command; at most 255 characters.",
    ));
    parameters.push(header("Prefer", false, "wait=N: hold the answer for up to N seconds, until there is an outcome."));
    if route.takes_if_match {
        parameters.push(header("If-Match", false, "ETag of the revision that was seen."));
    }
    let closings = route.closing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let accepted = |text: &str| {
        let located = json!({"Location": {"description": "The operation.", "schema": {"type": "string"}}});
        json!({"description": text, "headers": located, "content": {"application/json": {"schema": operation.reference()}}})
    };
    json!({
        "operationId": format!("{}-{}", route.method.as_str().to_lowercase(), slug(route.path)),
        "summary": route.summary,
        "description": format!("Sends `{}`; it ends with {closings}, or is rejected.", route.command),
        "tags": [tag(route.path)],
        "security": security(&route.access),
        "parameters": parameters,
        "requestBody": {"required": true, "content": {"application/json": {"schema": route.body.reference()}}},
        "responses": responses(
            [("202", accepted("The command is in the book.")), ("200", accepted("There was an outcome in time."))],
            &[
                codes::REQUEST_REFUSED, codes::TOKEN_INVALID, codes::SCOPE_MISSING, codes::BODY_TOO_LARGE,
                codes::MEDIA_TYPE_UNSUPPORTED, codes::REQUEST_INVALID, codes::NOT_KNOWN_TO_BE_ACCEPTED,
            ],
        ),
    })
}

fn of_read(route: &ReadRoute) -> Value {
    let kind_of = |name: &str| {
        let declared =
            route.parameters.iter().find(|parameter| parameter.source == Source::Path && parameter.name == name);
        schema_of(declared.map_or(ParameterKind::Uuid, |parameter| parameter.kind))
    };
    let mut parameters = path_parameters(route.path, kind_of);
    for parameter in route.parameters.iter().filter(|parameter| parameter.source == Source::Query) {
        parameters.push(query(parameter.name, schema_of(parameter.kind), "A filter."));
    }
    let after = "Wait until this operation is closed and can be seen here.";
    parameters.push(query(AFTER_OPERATION, schema_of(ParameterKind::Uuid), after));
    let row = json!({"type": "object"});
    let schema = match &route.answer {
        Answer::One => row,
        Answer::Many { page_max, .. } => {
            let limit = json!({"type": "integer", "minimum": 1, "maximum": page_max});
            parameters.push(query(CURSOR, json!({"type": "string"}), "Where the last page ended."));
            parameters.push(query(LIMIT, limit, "The most rows of a page."));
            let next = json!({"type": ["string", "null"]});
            json!({"type": "object", "properties": {"items": {"type": "array", "items": row}, "next": next}})
        }
    };
    let answer = json!({
        "description": "What the projection knows.",
        "headers": {
            "ETag": {"schema": {"type": "string"}},
            "Daybook-Lag-Ms": {"description": "How old it is.", "schema": {"type": "integer"}},
        },
        "content": {"application/json": {"schema": schema}},
    });
    json!({
        "operationId": format!("get-{}", slug(route.path)),
        "summary": route.summary,
        "tags": [tag(route.path)],
        "security": security(&route.access),
        "parameters": parameters,
        "responses": responses([("200", answer)], &[codes::PARAMETER_INVALID, codes::NOT_FOUND, codes::UNAVAILABLE]),
    })
}

fn of_operations(operation: &Body) -> [(String, Value); 2] {
    let path = "/operations/{operation_id}";
    let described = |id: &str, path: &str, summary: &str, answer: Value| {
        json!({
            "operationId": id,
            "summary": summary,
            "tags": ["operations"],
            "security": [{BEARER: []}],
            "parameters": path_parameters(path, |_| schema_of(ParameterKind::Uuid)),
            "responses": responses([("200", answer)], &[codes::TOKEN_INVALID, codes::NOT_FOUND]),
        })
    };
    let resource = json!({
        "description": "Where it stands.",
        "content": {"application/json": {"schema": operation.reference()}},
    });
    let stream = json!({
        "description": "Each step as it happens, resumable by Last-Event-ID.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    });
    let prefix = crate::command::API_PREFIX;
    [
        (format!("{prefix}{path}"), described("get-operation", path, "What became of a command.", resource)),
        (format!("{prefix}{path}/events"), described("get-operation-events", path, "Its steps, as a stream.", stream)),
    ]
}

fn responses<const N: usize>(good: [(&str, Value); N], bad: &[Code]) -> Value {
    let mut all: Map<String, Value> = good.into_iter().map(|(status, answer)| (status.to_owned(), answer)).collect();
    for code in bad {
        let schema = json!({"$ref": "#/components/schemas/Problem"});
        let answer = json!({"description": code.title, "content": {PROBLEM_JSON: {"schema": schema}}});
        all.insert(code.status.as_str().to_owned(), answer);
    }
    Value::Object(all)
}

fn path_parameters(path: &str, schema: impl Fn(&str) -> Value) -> Vec<Value> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": schema(name)})).collect()
}

fn header(name: &str, required: bool, description: &str) -> Value {
    json!({"name": name, "in": "header", "required": required, "description": description, "schema": {"type": "string"}})
}

fn query(name: &str, schema: Value, description: &str) -> Value {
    json!({"name": name, "in": "query", "required": false, "description": description, "schema": schema})
}

fn schema_of(kind: ParameterKind) -> Value {
    match kind {
        ParameterKind::Uuid => json!({"type": "string", "format": "uuid"}),
        ParameterKind::Text => json!({"type": "string"}),
        ParameterKind::Integer => json!({"type": "integer", "format": "int64"}),
        ParameterKind::Time => json!({"type": "string", "format": "date-time"}),
    }
}

fn security(access: &Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::Scope(scope) => json!([{BEARER: [scope]}]),
        Access::Owner { own, any, .. } => json!([{BEARER: [own]}, {BEARER: [any]}]),
    }
}

/// The first word of the path.
fn tag(path: &str) -> &str {
    path.split('/').find(|segment| !segment.is_empty()).unwrap_or_default()
}

fn slug(path: &str) -> String {
    let words = path.split('/').filter(|segment| !segment.is_empty());
    words.map(|word| word.trim_matches(['{', '}']).replace('_', "-")).collect::<Vec<_>>().join("-")
}

fn problem_schema() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "type": "object",
        "required": ["type", "code", "title", "status", "trace_id", "request_id"],
        "properties": {
            "type": text("Address of a page about the code."),
            "code": text("In kebab case."),
            "title": text("The same for each problem with this code."),
            "status": {"type": "integer"},
            "detail": text("About this occurrence."),
            "trace_id": text("By which it is found in logs and traces."),
            "request_id": text("As in X-Request-Id."),
            "errors": {"type": "array", "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "properties": {"pointer": text("JSON pointer into the body."), "message": text("What is wrong there.")},
            }},
        },
    })
}
