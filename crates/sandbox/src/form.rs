//! Form-encoded requests, with nested names in brackets: `metadata[order]=7&expand[]=latest_charge`.

use crate::cards;
use crate::error::ApiError;
use std::collections::BTreeMap;

/// More fields than this are not a request of ours.
const MAX_FIELDS: usize = 200;

/// One decoded body or query string: names split at their brackets, in the order sent.
#[derive(Clone, Debug, Default)]
pub struct Form {
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    /// `metadata[order]` is `["metadata", "order"]`; `expand[]` is `["expand", ""]`.
    path: Vec<String>,
    value: String,
}

impl Form {
    /// Decodes a body or query string.
    ///
    /// # Errors
    /// Refuses broken percent escapes, text that isn't UTF-8, unbalanced brackets, too many fields, and any field
    /// that holds a card number.
    pub fn decode(encoded: &[u8]) -> Result<Form, ApiError> {
        let mut fields = Vec::new();
        for pair in encoded.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            if fields.len() == MAX_FIELDS {
                return Err(ApiError::invalid("too_many_parameters", "The request has too many parameters."));
            }
            let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
                Some(equals) => (&pair[..equals], &pair[equals + 1..]),
                None => (pair, &b""[..]),
            };
            let (name, value) = (unescape(name)?, unescape(value)?);
            if cards::holds_card_number(&name) || cards::holds_card_number(&value) {
                return Err(ApiError::card_number_refused());
            }
            fields.push(Field { path: split_name(&name)?, value });
        }
        Ok(Form { fields })
    }

    /// Refuses any top-level name that isn't listed, as Stripe does.
    pub fn expect_only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.fields.iter().find(|field| !known.contains(&field.path[0].as_str())) {
            Some(_) => Err(ApiError::invalid("parameter_unknown", "The request has a parameter unknown here.")),
            None => Ok(()),
        }
    }

    /// The last value of a plain field; an empty one counts as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.nested(&[name])
    }

    /// The value of a nested field such as `created[gte]`.
    pub fn nested(&self, path: &[&str]) -> Option<&str> {
        let found = self.fields.iter().rev().find(|field| field.path == path)?;
        Some(found.value.as_str()).filter(|value| !value.is_empty())
    }

    /// A number of a field such as `amount`, or `created[gte]` by its path.
    pub fn number(&self, path: &[&str]) -> Result<Option<u64>, ApiError> {
        self.nested(path)
            .map(|digits| digits.parse().map_err(|_| ApiError::parameter("parameter_invalid_integer", path[0])))
            .transpose()
    }

    pub fn boolean(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::parameter("parameter_invalid_boolean", name)),
        }
    }

    /// All of `name[key]=value`.
    pub fn map(&self, name: &str) -> BTreeMap<String, String> {
        self.fields
            .iter()
            .filter_map(|field| match field.path.as_slice() {
                [first, key] if first == name => Some((key.clone(), field.value.clone())),
                _ => None,
            })
            .collect()
    }

    /// All of `name[]=value` or `name[0]=value`.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |field| field.path.len() == 2 && field.path[0] == name)
            .map(|field| field.value.as_str())
    }

    /// The fields in one order, whatever order they were sent in: what two equal requests have in common.
    pub fn canonical(&self) -> String {
        let mut lines: Vec<String> =
            self.fields.iter().map(|field| format!("{:?}={:?}", field.path, field.value)).collect();
        lines.sort();
        lines.join("\n")
    }
}

fn split_name(name: &str) -> Result<Vec<String>, ApiError> {
    let broken = || ApiError::invalid("parameter_invalid", "A parameter's name has unbalanced brackets.");
    let Some(open) = name.find('[') else {
        return Ok(vec![name.to_owned()]);
    };
    let mut path = vec![name[..open].to_owned()];
    let mut rest = &name[open..];
    while !rest.is_empty() {
        let inner = rest.strip_prefix('[').ok_or_else(broken)?;
        let close = inner.find(']').ok_or_else(broken)?;
        path.push(inner[..close].to_owned());
        rest = &inner[close + 1..];
    }
    Ok(path)
}

fn unescape(encoded: &[u8]) -> Result<String, ApiError> {
    let broken = || ApiError::invalid("parameter_invalid", "The request is not form-encoded UTF-8.");
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = bytes.next().and_then(|digit| hex_digit(*digit)).ok_or_else(broken)?;
                let low = bytes.next().and_then(|digit| hex_digit(*digit)).ok_or_else(broken)?;
                high * 16 + low
            }
            plain => plain,
        });
    }
    String::from_utf8(decoded).map_err(|_| broken())
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_nest() {
        let form = Form::decode(b"amount=500&metadata[payment]=a+b%26c&expand[]=x&expand[1]=y&created[gte]=7").unwrap();
        assert_eq!(form.text("amount"), Some("500"));
        assert_eq!(form.map("metadata"), BTreeMap::from([("payment".to_owned(), "a b&c".to_owned())]));
        assert_eq!(form.list("expand").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(form.number(&["created", "gte"]).unwrap(), Some(7));
        assert_eq!(form.text("absent"), None);
    }

    #[test]
    fn escaped_brackets_are_brackets() {
        let form = Form::decode(b"metadata%5Bkey%5D=%C3%A9").unwrap();
        assert_eq!(form.map("metadata")["key"], "é");
    }

    #[test]
    fn order_does_not_matter_to_equality() {
        let (one, other) = (Form::decode(b"a=1&b[c]=2").unwrap(), Form::decode(b"b[c]=2&a=1").unwrap());
        assert_eq!(one.canonical(), other.canonical());
        assert_ne!(one.canonical(), Form::decode(b"a=1&b[c]=3").unwrap().canonical());
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for broken in ["a=%", "a=%2", "a=%zz", "a=%ff", "a[b=1", "a[b]c=1"] {
            assert!(Form::decode(broken.as_bytes()).is_err(), "{broken}");
        }
        assert!(Form::decode("a=1&".repeat(MAX_FIELDS + 1).as_bytes()).is_err());
    }

    #[test]
    fn a_card_number_is_refused_in_names_and_values() {
        for refused in ["metadata[note]=4242424242424242", "metadata[4242424242424242]=x", "a=%34242424242424242"] {
            let error = Form::decode(refused.as_bytes()).unwrap_err();
            assert_eq!(error.code.as_deref(), Some("card_number_refused"), "{refused}");
        }
    }

    #[test]
    fn unknown_names_are_refused_without_repeating_them() {
        let form = Form::decode(b"amount=1&secret_name=2").unwrap();
        let error = form.expect_only(&["amount"]).unwrap_err();
        assert!(!error.message.contains("secret_name"));
    }
}
