//! One page per code, from `docs/problems`, served from the binary.

use axum::extract::Path;
use axum::response::{Html, IntoResponse, Response};

use crate::codes;
use crate::html::{escaped, page};
use crate::problem::Problem;

/// Code and markdown of each page.
pub static PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The title of a code's page: its first line.
pub fn title_of(code: &str) -> Option<&'static str> {
    let text = text_of(code)?;
    text.lines().next()?.strip_prefix("# ")
}

fn text_of(code: &str) -> Option<&'static str> {
    let index = PAGES.binary_search_by(|(name, _)| (*name).cmp(code)).ok()?;
    PAGES.get(index).map(|(_, text)| *text)
}

pub(crate) async fn problem_page(Path(code): Path<String>) -> Response {
    match text_of(&code) {
        Some(text) => Html(page(&code, &rendered(text))).into_response(),
        None => Problem::new(codes::NOT_FOUND).into_response(),
    }
}

pub(crate) async fn problem_list() -> Html<String> {
    let mut list = String::from("<h1>Problems</h1><ul>");
    for (code, _) in PAGES {
        let title = title_of(code).unwrap_or(code);
        list.push_str(&format!("<li><a href=\"/problems/{code}\"><code>{code}</code></a> {}</li>", escaped(title)));
    }
    list.push_str("</ul>");
    Html(page("Problems", &list))
}

/// The little markdown that the pages use: headings, paragraphs, lists, code.
fn rendered(text: &str) -> String {
    let block = |block: &str| {
        let block = block.trim();
        if let Some(heading) = block.strip_prefix("## ") {
            format!("<h2>{}</h2>", inline(heading))
        } else if let Some(heading) = block.strip_prefix("# ") {
            format!("<h1>{}</h1>", inline(heading))
        } else if block.starts_with("- ") {
            let items = block.split("\n- ").map(|item| format!("<li>{}</li>", inline(item.trim_start_matches("- "))));
            format!("<ul>{}</ul>", items.collect::<String>())
        } else {
            format!("<p>{}</p>", inline(block))
        }
    };
    text.split("\n\n").filter(|part| !part.trim().is_empty()).map(block).collect()
}

/// Every other piece between backticks is code.
fn inline(text: &str) -> String {
    let pieces = text.split('`').enumerate();
    pieces
        .map(|(number, piece)| match number % 2 {
            0 => escaped(piece),
            _ => format!("<code>{}</code>", escaped(piece)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_with_a_title() {
        for code in codes::CODES {
            assert!(title_of(code.name).is_some(), "docs/problems/{}.md is missing or has no title", code.name);
        }
    }

    #[test]
    fn every_page_begins_with_a_title() {
        for (code, _) in PAGES {
            assert!(title_of(code).is_some(), "{code}");
        }
    }

    #[test]
    fn markup_in_a_page_is_shown_and_not_obeyed() {
        let html = rendered("# A <b>\n\n- one `<i>`\n- two");
        assert_eq!(html, "<h1>A &lt;b&gt;</h1><ul><li>one <code>&lt;i&gt;</code></li><li>two</li></ul>");
    }
}
