//! The page that shows the API to people: rendered from the description, once, without any script.

use serde_json::{Map, Value};

use crate::html::{escaped, page};

/// Renders an OpenAPI document as made by [`crate::openapi`].
pub(crate) fn rendered(document: &Value) -> String {
    let title = document["info"]["title"].as_str().unwrap_or_default();
    let mut html = format!("<h1>{}</h1>", escaped(title));
    html.push_str("<p><a href=\"/openapi.json\">OpenAPI 3.1</a> · <a href=\"/problems\">Problems</a></p>");
    for (path, methods) in entries(&document["paths"]) {
        for (method, operation) in entries(methods) {
            html.push_str(&section(path, method, operation));
        }
    }
    html.push_str("<h2>Schemas</h2>");
    for (name, schema) in entries(&document["components"]["schemas"]) {
        let text = serde_json::to_string_pretty(schema).unwrap_or_default();
        let name = escaped(name);
        html.push_str(&format!("<section id=\"{name}\"><h3>{name}</h3><pre>{}</pre></section>", escaped(&text)));
    }
    page(title, &html)
}

fn section(path: &str, method: &str, operation: &Value) -> String {
    let text = |name: &str| escaped(operation[name].as_str().unwrap_or_default());
    let mut html = format!(
        "<section id=\"{}\"><h3><span class=\"method\">{}</span> <code>{}</code></h3><p>{}</p><p>{}</p>",
        text("operationId"),
        method.to_uppercase(),
        escaped(path),
        text("summary"),
        text("description").replace('`', ""),
    );
    html.push_str(&format!("<p>Scope: {}</p>", scopes(operation)));
    if let Some(schema) = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str() {
        let name = escaped(schema.rsplit('/').next().unwrap_or_default());
        html.push_str(&format!("<p>Body: <a href=\"#{name}\">{name}</a></p>"));
    }
    html.push_str("<table><thead><tr><th>Parameter</th><th>In</th><th></th></tr></thead><tbody>");
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let cell = |name: &str| escaped(parameter[name].as_str().unwrap_or_default());
        html.push_str(&format!(
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            cell("name"),
            cell("in"),
            cell("description")
        ));
    }
    html.push_str("</tbody></table><p>Answers: ");
    let answers = entries(&operation["responses"]);
    let answers =
        answers.map(|(status, answer)| format!("{status} {}", answer["description"].as_str().unwrap_or_default()));
    html.push_str(&escaped(&answers.collect::<Vec<_>>().join(" · ")));
    html.push_str("</p></section>");
    html
}

fn scopes(operation: &Value) -> String {
    let ways = operation["security"].as_array().into_iter().flatten();
    let of_way = |way: &Value| way.as_object().into_iter().flat_map(Map::values).cloned().collect::<Vec<_>>();
    let scopes = ways.flat_map(of_way).flat_map(|scopes| scopes.as_array().cloned().unwrap_or_default());
    let names: Vec<String> =
        scopes.filter_map(|scope| Some(format!("<code>{}</code>", escaped(scope.as_str()?)))).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" or ") }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
