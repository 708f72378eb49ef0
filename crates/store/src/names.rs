//! Names of schemas, and the check that keeps generated SQL free of anything but names.

use crate::Error;

/// Room for a prefix, `_g` and a generation within Postgres's 63 bytes.
const PART_NAME_MAX: usize = 40;
const PREFIX_MAX: usize = 16;
const IDENTIFIER_MAX: usize = 63;
/// Names of our own schemas, which no part may take.
const RESERVED: [&str; 2] = ["read", "vault"];

/// The schemas of one part.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// As declared, with hyphens.
    pub part: String,
    /// Control tables: `enrollment_saga`.
    pub control: String,
    /// Public views of all parts.
    pub read: String,
}

impl Names {
    pub fn new(prefix: &str, part: &str) -> Result<Self, Error> {
        if !is_name(part, PART_NAME_MAX) || RESERVED.contains(&part) {
            return Err(Error::Name { what: "the name of a part", name: part.to_owned(), max: PART_NAME_MAX });
        }
        let control = format!("{prefix}{}", part.replace('-', "_"));
        Ok(Self { part: part.to_owned(), control, read: read_schema(prefix)? })
    }

    /// The schema of one generation of derived tables: `enrollment_saga_g1`.
    pub fn derived(&self, generation: i32) -> String {
        format!("{}_g{generation}", self.control)
    }

    /// The public view of the offsets that the part has applied: `enrollment_saga_offsets`.
    pub fn offsets_view(&self) -> String {
        format!("{}_offsets", self.part.replace('-', "_"))
    }
}

pub(crate) fn read_schema(prefix: &str) -> Result<String, Error> {
    Ok(format!("{}read", checked_prefix(prefix)?))
}

pub(crate) fn vault_schema(prefix: &str) -> Result<String, Error> {
    Ok(format!("{}vault", checked_prefix(prefix)?))
}

fn checked_prefix(prefix: &str) -> Result<&str, Error> {
    if prefix.is_empty() || (is_name(prefix, PREFIX_MAX) && !prefix.contains('-')) {
        Ok(prefix)
    } else {
        Err(Error::Name { what: "a schema prefix", name: prefix.to_owned(), max: PREFIX_MAX })
    }
}

/// A column or table, quoted: it may be a word of SQL such as `order`.
pub(crate) fn quoted(name: &str) -> Result<String, Error> {
    if is_name(name, IDENTIFIER_MAX) && !name.contains('-') {
        Ok(format!("\"{name}\""))
    } else {
        Err(Error::Name { what: "the name of a table or column", name: name.to_owned(), max: IDENTIFIER_MAX })
    }
}

fn is_name(name: &str, max: usize) -> bool {
    name.len() <= max
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_-".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_gets_schemas_of_its_own() -> Result<(), Error> {
        let names = Names::new("test_", "enrollment-saga")?;
        assert_eq!(names.control, "test_enrollment_saga");
        assert_eq!(names.derived(1), "test_enrollment_saga_g1");
        assert_eq!(names.read, "test_read");
        Ok(())
    }

    #[test]
    fn nothing_but_a_name_gets_into_generated_sql() {
        for name in ["", "1st", "a b", "a;drop", "a\"b", "Ä", "read", "vault"] {
            assert!(Names::new("", name).is_err(), "{name}");
        }
        assert!(Names::new("x\"", "courses").is_err());
        assert!(quoted("person-id").is_err());
        assert_eq!(quoted("order").ok().as_deref(), Some("\"order\""));
    }
}
