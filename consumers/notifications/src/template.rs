//! The texts: which there are, what they need, and how one is rendered.

use std::collections::BTreeMap;

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

/// A version of a template. One that was released stays for ever: what waits or is tried again names it.
#[derive(Debug)]
pub struct Template {
    pub name: &'static str,
    pub version: u32,
    /// What has to be given, with a sample for previews.
    pub fields: &'static [(&'static str, &'static str)],
    texts: &'static [Text],
}

#[derive(Debug)]
struct Text {
    language: &'static str,
    plain: &'static str,
    html: &'static str,
}

/// A text in each language, the first of them for those whose language is missing.
macro_rules! texts {
    ($file:literal: $($language:literal),+) => {
        &[$(Text {
            language: $language,
            plain: include_str!(concat!("../templates/", $file, ".", $language, ".txt")),
            html: include_str!(concat!("../templates/", $file, ".", $language, ".html")),
        }),+]
    };
}

const SAMPLE_ID: &str = "79d05da0-23f5-5271-8f1d-a8680d173007";

/// Every version that notifications may name.
pub const TEMPLATES: &[Template] = &[
    Template {
        name: "welcome",
        version: 1,
        fields: &[("course_id", SAMPLE_ID), ("enrollment_id", SAMPLE_ID)],
        texts: texts!("welcome.1": "en", "es"),
    },
    Template {
        name: "receipt",
        version: 1,
        fields: &[
            ("payment_id", SAMPLE_ID),
            ("enrollment_id", SAMPLE_ID),
            ("amount_minor", "12500"),
            ("currency", "USD"),
        ],
        texts: texts!("receipt.1": "en", "es"),
    },
    Template {
        name: "withdrawal",
        version: 1,
        fields: &[
            ("course_id", SAMPLE_ID),
            ("enrollment_id", SAMPLE_ID),
            ("refunded_minor", "12500"),
            ("currency", "USD"),
        ],
        texts: texts!("withdrawal.1": "en", "es"),
    },
];

impl Template {
    /// The newest version of this name.
    pub fn newest(name: &str) -> Option<&'static Self> {
        TEMPLATES.iter().filter(|template| template.name == name).max_by_key(|template| template.version)
    }

    /// The version that [`Template::id`] names.
    pub fn of_id(id: &str) -> Option<&'static Self> {
        TEMPLATES.iter().find(|template| template.id() == id)
    }

    /// Name and version, as in `welcome.1`.
    pub fn id(&self) -> String {
        format!("{}.{}", self.name, self.version)
    }

    /// The first field that `data` lacks.
    pub fn missing_field(&self, data: &BTreeMap<String, String>) -> Option<&'static str> {
        self.fields.iter().map(|(field, _)| *field).find(|field| !data.contains_key(*field))
    }

    /// Text in the language whose primary subtag is that of `tag`, or else the first one.
    fn language_for(&self, tag: &str) -> &'static str {
        let primary = tag.split('-').next().unwrap_or(tag);
        let matching = self.texts.iter().find(|text| text.language.eq_ignore_ascii_case(primary));
        matching.or(self.texts.first()).map_or("en", |text| text.language)
    }
}

/// A notification as its reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub subject: String,
    pub plain: String,
    pub html: String,
}

/// All templates, compiled.
pub struct Renderer {
    environment: Environment<'static>,
}

impl Default for Renderer {
    fn default() -> Self {
        Self::new()
    }
}

impl Renderer {
    /// Compiles the templates.
    ///
    /// # Panics
    /// When one is malformed, which the tests rule out.
    pub fn new() -> Self {
        // By its default it escapes what goes into names that end in `.html`.
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("money", money);
        for template in TEMPLATES {
            for text in template.texts {
                for (kind, source) in [("txt", text.plain), ("html", text.html)] {
                    environment
                        .add_template_owned(file_name(template, text.language, kind), source)
                        .expect("the templates are rendered by the tests");
                }
            }
        }
        Self { environment }
    }

    /// Renders a template for a recipient called `name`, in the language `tag` or the nearest there is.
    ///
    /// # Errors
    /// When a field is missing or is not what the template takes it for. The error may quote data: don't log it.
    pub fn render(
        &self,
        template: &Template,
        tag: &str,
        name: &str,
        data: &BTreeMap<String, String>,
    ) -> Result<Rendered, Error> {
        let language = template.language_for(tag);
        let mut context = data.clone();
        context.insert("name".to_owned(), name.to_owned());
        let render = |kind| self.environment.get_template(&file_name(template, language, kind))?.render(&context);
        let text = render("txt")?;
        let (subject, plain) = text
            .strip_prefix("Subject: ")
            .and_then(|text| text.split_once("\n\n"))
            .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "a text begins with its subject"))?;
        Ok(Rendered { subject: subject.to_owned(), plain: plain.to_owned(), html: render("html")? })
    }

    /// Renders a template with its samples, for those who review it.
    ///
    /// # Errors
    /// As [`Renderer::render`].
    pub fn preview(&self, template: &Template, tag: &str) -> Result<Rendered, Error> {
        let sample = |(field, value): &(&str, &str)| ((*field).to_owned(), (*value).to_owned());
        self.render(template, tag, "Alex Example", &template.fields.iter().map(sample).collect())
    }
}

fn file_name(template: &Template, language: &str, kind: &str) -> String {
    format!("{}.{language}.{kind}", template.id())
}

/// `12500`, `USD` → `125.00 USD`.
fn money(amount_minor: &str, currency: &str) -> Result<String, Error> {
    let malformed = |_| Error::new(ErrorKind::InvalidOperation, "an amount is a number of minor units");
    let amount_minor: i64 = amount_minor.parse().map_err(malformed)?;
    let decimals = decimals(currency);
    let unit = 10_u64.pow(decimals);
    let sign = if amount_minor < 0 { "-" } else { "" };
    let (whole, rest) = (amount_minor.unsigned_abs() / unit, amount_minor.unsigned_abs() % unit);
    Ok(match decimals {
        0 => format!("{sign}{whole} {currency}"),
        _ => format!("{sign}{whole}.{rest:0width$} {currency}", width = decimals as usize),
    })
}

/// Decimals of a currency's minor unit, by ISO 4217.
fn decimals(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND" | "VUV"
        | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_renders_in_every_language_with_the_fields_it_names() {
        let renderer = Renderer::new();
        for template in TEMPLATES {
            for text in template.texts {
                let rendered = renderer.preview(template, text.language).unwrap();
                let whole = format!("{}{}{}", rendered.subject, rendered.plain, rendered.html);
                assert!(!rendered.subject.is_empty() && !rendered.subject.contains('\n'), "{}", template.id());
                assert!(rendered.plain.contains("Alex Example") && rendered.html.contains("Alex Example"));
                assert!(!whole.contains("{{") && !whole.contains("{%"), "{whole}");
            }
        }
    }

    #[test]
    fn every_version_has_an_id_of_its_own_and_the_newest_is_found() {
        for template in TEMPLATES {
            assert_eq!(Template::of_id(&template.id()).unwrap().version, template.version);
            assert!(Template::newest(template.name).unwrap().version >= template.version);
        }
        let ids: std::collections::BTreeSet<_> = TEMPLATES.iter().map(Template::id).collect();
        assert_eq!(ids.len(), TEMPLATES.len());
        assert!(Template::newest("lottery").is_none());
    }

    #[test]
    fn a_text_is_in_the_readers_language_or_in_the_first_there_is() {
        let renderer = Renderer::new();
        let welcome = Template::newest("welcome").unwrap();
        let subject = |tag| renderer.preview(welcome, tag).unwrap().subject;
        assert_eq!(subject("es-MX"), "Su inscripción está confirmada");
        assert_eq!(subject("EN"), "You are enrolled");
        assert_eq!(subject("tlh"), "You are enrolled");
    }

    #[test]
    fn what_goes_into_html_is_escaped() {
        let welcome = Template::newest("welcome").unwrap();
        let data = [("course_id", "<b>"), ("enrollment_id", "1")];
        let data = data.map(|(field, value)| (field.to_owned(), value.to_owned())).into();
        let rendered = Renderer::new().render(welcome, "en", "<i>", &data).unwrap();
        assert!(rendered.html.contains("&lt;b&gt;") && rendered.html.contains("&lt;i&gt;"));
        assert!(rendered.plain.contains("<b>"));
    }

    #[test]
    fn amounts_are_written_for_people() {
        assert_eq!(money("12500", "USD").unwrap(), "125.00 USD");
        assert_eq!(money("-5", "USD").unwrap(), "-0.05 USD");
        assert_eq!(money("500", "JPY").unwrap(), "500 JPY");
        assert_eq!(money("1234", "KWD").unwrap(), "1.234 KWD");
        assert!(money("much", "USD").is_err());
    }
}
