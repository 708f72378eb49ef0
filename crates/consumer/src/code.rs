use std::fmt;

/// A word for why something was refused or failed, with its page of advice. Declared by [`codes!`](crate::codes).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Kebab-case, for ever the same.
    pub name: &'static str,
    /// What it means and what to do about it.
    pub about: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

/// A command is refused, and nothing happens. The sender gets it as the closing reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub code: Code,
    /// A sentence for people; nobody's personal data.
    pub detail: Option<String>,
}

impl Rejection {
    pub fn with(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: Some(detail.into()) }
    }
}

impl From<Code> for Rejection {
    fn from(code: Code) -> Self {
        Self { code, detail: None }
    }
}

/// Declares the codes of a leaf as constants, and `CODES`, the list of them all. The doc comment is the page.
///
/// ```
/// daybook_consumer::codes! {
///     /// All seats are held or taken. A released seat can be had by asking again.
///     COURSE_FULL = "course-full";
/// }
/// assert_eq!(CODES[0].name, "course-full");
/// ```
#[macro_export]
macro_rules! codes {
    ($($(#[doc = $about:literal])+ $constant:ident = $name:literal;)+) => {
        $(
            $(#[doc = $about])+
            pub const $constant: $crate::Code =
                $crate::Code { name: $name, about: concat!($($about),+) };
        )+

        /// Every code of this leaf, in the order of their declaration.
        pub const CODES: &[$crate::Code] = &[$($constant),+];
    };
}

/// Returns a rejection from the function unless the condition holds: `ensure!(holds, CODE)`, or with a
/// sentence for people: `ensure!(holds, CODE, "revision is {}", revision)`.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $code:expr $(,)?) => {
        if !$condition {
            return Err($crate::Rejection::from($code).into());
        }
    };
    ($condition:expr, $code:expr, $($detail:tt)+) => {
        if !$condition {
            return Err($crate::Rejection::with($code, format!($($detail)+)).into());
        }
    };
}
