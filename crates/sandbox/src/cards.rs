//! Test cards, which are tokens, and card numbers, which are never let in.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

const SHORTEST_CARD_NUMBER: usize = 13;
const LONGEST_CARD_NUMBER: usize = 19;

/// Why the card was refused: Stripe's `code` and `decline_code`, and a text for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decline {
    pub code: Cow<'static, str>,
    pub decline_code: Option<Cow<'static, str>>,
    pub message: Cow<'static, str>,
}

/// What a payment method token makes the sandbox do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Card {
    Good,
    /// Good, but the cardholder disputes the charge as soon as it is captured.
    Disputes,
    Declines(Decline),
}

pub const GENERIC_DECLINE: Decline = decline("card_declined", Some("generic_decline"), "The card was declined.");

const fn decline(code: &'static str, decline_code: Option<&'static str>, message: &'static str) -> Decline {
    Decline {
        code: Cow::Borrowed(code),
        decline_code: match decline_code {
            Some(decline_code) => Some(Cow::Borrowed(decline_code)),
            None => None,
        },
        message: Cow::Borrowed(message),
    }
}

/// Token (without `pm_card_` and an optional `visa_`) and the refusal it stands for.
const DECLINES: &[(&str, Decline)] = &[
    ("chargeDeclined", GENERIC_DECLINE),
    ("chargeCustomerFail", GENERIC_DECLINE),
    (
        "chargeDeclinedInsufficientFunds",
        decline("card_declined", Some("insufficient_funds"), "The card has insufficient funds."),
    ),
    ("chargeDeclinedLostCard", decline("card_declined", Some("lost_card"), "The card was declined.")),
    ("chargeDeclinedStolenCard", decline("card_declined", Some("stolen_card"), "The card was declined.")),
    ("chargeDeclinedFraudulent", decline("card_declined", Some("fraudulent"), "The card was declined.")),
    (
        "chargeDeclinedVelocityLimitExceeded",
        decline("card_declined", Some("card_velocity_exceeded"), "The card exceeded its balance, limit or count."),
    ),
    ("chargeDeclinedExpiredCard", decline("expired_card", None, "The card has expired.")),
    ("chargeDeclinedIncorrectCvc", decline("incorrect_cvc", None, "The card's security code is incorrect.")),
    ("chargeDeclinedProcessingError", decline("processing_error", None, "The card could not be processed.")),
    (
        "authenticationRequired",
        decline("authentication_required", Some("authentication_required"), "The card requires authentication."),
    ),
];

const GOOD: &[&str] = &[
    "visa",
    "visa_debit",
    "mastercard",
    "mastercard_debit",
    "mastercard_prepaid",
    "amex",
    "discover",
    "diners",
    "jcb",
    "unionpay",
    "us",
];

/// The test card of a token such as `pm_card_visa`; `None` if there is no such payment method.
pub fn lookup(token: &str) -> Option<Card> {
    let name = token.strip_prefix("pm_card_")?;
    if GOOD.contains(&name) {
        return Some(Card::Good);
    }
    let name = name.strip_prefix("visa_").unwrap_or(name);
    if name == "createDispute" {
        return Some(Card::Disputes);
    }
    DECLINES.iter().find(|(token, _)| *token == name).map(|(_, decline)| Card::Declines(decline.clone()))
}

/// Whether the text holds a run of 13 to 19 digits that passes the Luhn check.
///
/// Longer runs are not card numbers, and no part of them is looked at.
pub fn holds_card_number(text: &str) -> bool {
    text.split(|letter: char| !letter.is_ascii_digit())
        .any(|run| (SHORTEST_CARD_NUMBER..=LONGEST_CARD_NUMBER).contains(&run.len()) && passes_luhn(run))
}

/// The check digit of ISO/IEC 7812-1, annex B.
fn passes_luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(position, digit)| {
            let digit = u32::from(digit - b'0');
            match position % 2 {
                0 => digit,
                _ if digit > 4 => digit * 2 - 9,
                _ => digit * 2,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_found_in_running_text() {
        assert!(holds_card_number("4242424242424242"));
        assert!(holds_card_number("paid with 378282246310005, thanks"));
        assert!(!holds_card_number("4242424242424241"), "the check digit is wrong");
        assert!(!holds_card_number("424242424242"), "twelve digits are too few");
        assert!(!holds_card_number("00004242424242424242"), "twenty digits are too many");
        assert!(!holds_card_number("0198c0de-4242-7424-8242-424242424242"), "an id is no card");
    }

    fn declined(token: &str) -> Decline {
        match lookup(token) {
            Some(Card::Declines(decline)) => decline,
            other => panic!("{token} is {other:?}"),
        }
    }

    #[test]
    fn tokens_are_stripes() {
        assert_eq!(lookup("pm_card_visa"), Some(Card::Good));
        assert_eq!(lookup("pm_card_createDispute"), Some(Card::Disputes));
        for token in ["pm_card_chargeDeclinedExpiredCard", "pm_card_visa_chargeDeclinedExpiredCard"] {
            assert_eq!(declined(token).code, "expired_card", "{token}");
        }
        let declined = declined("pm_card_visa_chargeDeclinedInsufficientFunds");
        assert_eq!(declined.decline_code.as_deref(), Some("insufficient_funds"));
        assert_eq!(lookup("pm_card_unheard_of"), None);
        assert_eq!(lookup("visa"), None);
    }
}
