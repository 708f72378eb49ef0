//! Pages of lists, newest first, and the search language.

use crate::books::{Books, Intent, Row, Table};
use crate::error::ApiError;
use crate::form::Form;

const DEFAULT_LIMIT: u64 = 10;
const MAX_LIMIT: u64 = 100;
const MAX_CLAUSES: usize = 10;

/// The parameters that every list has.
pub const PARAMETERS: &[&str] = &["limit", "starting_after", "created", "expand"];

/// One page, and whether there is more behind it.
pub struct Page<'a, T> {
    pub rows: Vec<&'a T>,
    pub has_more: bool,
}

/// A page of the whole table, or of the rows chosen from it (oldest first).
///
/// # Errors
/// A limit out of range, or `starting_after` an unknown id.
pub fn page<'a, T: Row>(table: &'a Table<T>, chosen: Option<Vec<&'a T>>, form: &Form) -> Result<Page<'a, T>, ApiError> {
    let limit = limit(form)?;
    let end = match form.text("starting_after") {
        Some(id) => table.position(id).ok_or_else(|| ApiError::parameter("resource_missing", "starting_after"))?,
        None => table.rows().len(),
    };
    let window = Window::of(form)?;
    let in_window = |row: &&'a T| window.holds(row.created_s());
    let mut rows: Vec<&T> = match chosen {
        Some(chosen) => {
            let before = chosen.into_iter().rev().filter(|row| table.position(row.id()) < Some(end));
            before.filter(in_window).take(limit + 1).collect()
        }
        None => table.rows()[..end].iter().rev().filter(in_window).take(limit + 1).collect(),
    };
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Page { rows, has_more })
}

fn limit(form: &Form) -> Result<usize, ApiError> {
    let limit = form.number(&["limit"])?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::parameter("parameter_invalid_integer", "limit"));
    }
    usize::try_from(limit).map_err(|_| ApiError::parameter("parameter_invalid_integer", "limit"))
}

/// `created[gte]` and its like: Unix seconds, both ends included.
struct Window {
    from_s: u64,
    to_s: u64,
}

impl Window {
    fn of(form: &Form) -> Result<Window, ApiError> {
        let bound = |name| form.number(&["created", name]);
        let from_s = match (bound("gte")?, bound("gt")?) {
            (None, after) => after.map_or(0, |after| after.saturating_add(1)),
            (Some(from), after) => from.max(after.map_or(0, |after| after.saturating_add(1))),
        };
        let to_s = bound("lte")?.unwrap_or(u64::MAX).min(match bound("lt")? {
            Some(before) => before.saturating_sub(1),
            None => u64::MAX,
        });
        Ok(Window { from_s, to_s })
    }

    fn holds(&self, created_s: u64) -> bool {
        (self.from_s..=self.to_s).contains(&created_s)
    }
}

/// One condition of a search: `metadata['order']:'7'`, `status:'succeeded'`, `currency:'usd'`.
#[derive(Debug, PartialEq, Eq)]
enum Clause {
    Metadata { key: String, value: String },
    Status(String),
    Currency(String),
}

impl Clause {
    fn holds(&self, intent: &Intent) -> bool {
        match self {
            Clause::Metadata { key, value } => intent.metadata.get(key) == Some(value),
            Clause::Status(status) => intent.status.name() == status,
            Clause::Currency(currency) => intent.currency == *currency,
        }
    }
}

/// The intents that meet every condition of `query` (joined by `AND`), newest first, and the next page's token.
///
/// Unlike Stripe's, this search sees every write at once.
///
/// # Errors
/// The query can't be read.
pub fn search<'a>(books: &'a Books, form: &Form) -> Result<(Page<'a, Intent>, Option<String>), ApiError> {
    let query = form.text("query").ok_or_else(|| ApiError::parameter("parameter_missing", "query"))?;
    let clauses = parse(query).ok_or_else(|| ApiError::parameter("parameter_invalid", "query"))?;
    let limit = limit(form)?;
    let skip = usize::try_from(form.number(&["page"])?.unwrap_or(0)).unwrap_or(usize::MAX);
    let by_metadata = clauses.iter().find_map(|clause| match clause {
        Clause::Metadata { key, value } => Some(books.with_metadata(key, value)),
        Clause::Status(_) | Clause::Currency(_) => None,
    });
    let candidates: Vec<&Intent> = match by_metadata {
        Some(found) => found.collect(),
        None => books.intents.rows().iter().collect(),
    };
    let meets_all = |intent: &&Intent| clauses.iter().all(|clause| clause.holds(intent));
    let mut rows: Vec<&Intent> = candidates.into_iter().rev().filter(meets_all).skip(skip).take(limit + 1).collect();
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next_page = has_more.then(|| (skip + limit).to_string());
    Ok((Page { rows, has_more }, next_page))
}

fn parse(query: &str) -> Option<Vec<Clause>> {
    let mut clauses = Vec::new();
    let mut rest = query.trim();
    loop {
        let (clause, behind) = parse_clause(rest)?;
        clauses.push(clause);
        rest = behind.trim_start();
        if rest.is_empty() {
            return Some(clauses);
        }
        rest = rest.strip_prefix("AND ")?.trim_start();
        if clauses.len() == MAX_CLAUSES {
            return None;
        }
    }
}

fn parse_clause(text: &str) -> Option<(Clause, &str)> {
    if let Some(rest) = text.strip_prefix("metadata[") {
        let (key, rest) = parse_quoted(rest)?;
        let (value, rest) = parse_quoted(rest.strip_prefix("]:")?)?;
        return Some((Clause::Metadata { key, value }, rest));
    }
    if let Some(rest) = text.strip_prefix("status:") {
        let (status, rest) = parse_quoted(rest)?;
        return Some((Clause::Status(status), rest));
    }
    let (currency, rest) = parse_quoted(text.strip_prefix("currency:")?)?;
    Some((Clause::Currency(currency), rest))
}

/// A text in single or double quotes, where a backslash keeps the next letter as it is.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|letter| matches!(letter, '\'' | '"'))?;
    let mut content = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((position, letter)) = letters.next() {
        match letter {
            '\\' => content.push(letters.next()?.1),
            _ if letter == quote => return Some((content, &text[position + 1..])),
            _ => content.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_with_either_quote() {
        let expected =
            vec![Clause::Metadata { key: "order".into(), value: "it's 7".into() }, Clause::Status("succeeded".into())];
        assert_eq!(parse(r#"metadata["order"]:"it's 7" AND status:'succeeded'"#).unwrap(), expected);
        assert_eq!(parse(r"metadata['order']:'it\'s 7' AND  status:'succeeded'").unwrap(), expected);
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for broken in ["", "metadata['a']", "metadata['a']:'b", "metadata['a']:'b' OR status:'x'", "amount:'5'", "x"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_window_includes_both_ends() {
        let window = |sent: &str| Window::of(&Form::decode(sent.as_bytes()).unwrap()).unwrap();
        let both = window("created[gte]=5&created[lte]=7");
        assert!(both.holds(5) && both.holds(7) && !both.holds(4) && !both.holds(8));
        let open = window("created[gt]=5&created[lt]=7");
        assert!(!open.holds(5) && open.holds(6) && !open.holds(7));
    }
}
