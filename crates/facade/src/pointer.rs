//! Where in a JSON text a line and column are, as a JSON pointer (RFC 6901).

/// One object or array around the place.
enum Level {
    /// The field whose name was read last, and whether a name comes next.
    Object { field: String, name_next: bool },
    /// Index of the present item.
    Array { index: usize },
}

/// The pointer to the innermost value that has begun, and not ended, before the place. The text is JSON that was parsed
/// before.
pub(crate) fn pointer_at(text: &str, line: usize, column: usize) -> String {
    let end = byte_offset(text, line, column);
    let bytes = &text.as_bytes()[..end];
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => levels.push(Level::Object { field: String::new(), name_next: true }),
            b'[' => levels.push(Level::Array { index: 0 }),
            b'}' | b']' if at + 1 < bytes.len() => {
                levels.pop();
            }
            b',' => match levels.last_mut() {
                Some(Level::Object { name_next, .. }) => *name_next = true,
                Some(Level::Array { index }) => *index += 1,
                None => {}
            },
            b'"' => {
                let close = closing_quote(bytes, at);
                if let Some(Level::Object { field, name_next: name_next @ true }) = levels.last_mut() {
                    *field = serde_json::from_slice(bytes.get(at..=close).unwrap_or_default()).unwrap_or_default();
                    *name_next = false;
                }
                at = close;
            }
            _ => {}
        }
        at += 1;
    }
    // An object that is just being closed is itself the place: what is missing in it is not in one of its fields.
    if matches!(bytes.last(), Some(b'}' | b']')) {
        levels.pop();
    }
    levels.iter().map(segment).collect()
}

fn segment(level: &Level) -> String {
    match level {
        Level::Object { field, .. } if field.is_empty() => String::new(),
        Level::Object { field, .. } => format!("/{}", field.replace('~', "~0").replace('/', "~1")),
        Level::Array { index } => format!("/{index}"),
    }
}

/// Index of the quote that ends the string which begins at `open`.
fn closing_quote(bytes: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// Lines and columns count from 1, columns in bytes.
fn byte_offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column).min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_the_fields_around_it() {
        let text = "{\"a\": [1, {\"b/c\": \"x\",\n \"d\": 2}], \"e\": 3}";
        let at = |needle: &str| {
            let offset = text.find(needle).unwrap() + needle.len();
            let line = text[..offset].matches('\n').count() + 1;
            let column = offset - text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
            pointer_at(text, line, column)
        };
        assert_eq!(at("[1"), "/a/0");
        assert_eq!(at("\"x\""), "/a/1/b~1c");
        assert_eq!(at("2"), "/a/1/d");
        assert_eq!(at("2}"), "/a/1");
        assert_eq!(at("3"), "/e");
        assert_eq!(at("3}"), "");
    }
}
