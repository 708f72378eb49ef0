//! The frame of the few pages for people: no script, one style sheet of its own, so that the policy can forbid the rest.

/// What pages may load: nothing but their style sheet.
pub(crate) const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) const STYLE: &str = include_str!("style.css");

/// A page.
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{} · Daybook</title><link rel=\"stylesheet\" href=\"/docs/style.css\"></head>\
         <body><main>{body}</main></body></html>",
        escaped(title)
    )
}

/// `text` for use in elements and quoted attributes.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
