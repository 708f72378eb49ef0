//! Telling a card number from any other text.

const SHORTEST_DIGITS: usize = 13;
const LONGEST_DIGITS: usize = 19;

/// Whether a run of 13 to 19 digits has the check digit of a card number (ISO/IEC 7812-1, annex B). Single
/// spaces and dashes within a run are passed over, as people write them.
pub fn holds_card_number(text: &str) -> bool {
    let mut digits = Vec::new();
    let mut separated = false;
    for letter in text.chars().chain(std::iter::once('.')) {
        match letter.to_digit(10) {
            Some(digit) => {
                digits.push(digit);
                separated = false;
            }
            None if matches!(letter, ' ' | '-') && !separated && !digits.is_empty() => separated = true,
            None => {
                if is_card_number(&digits) {
                    return true;
                }
                digits.clear();
                separated = false;
            }
        }
    }
    false
}

fn is_card_number(digits: &[u32]) -> bool {
    let weighed = |(position, digit): (usize, &u32)| match position % 2 {
        0 => *digit,
        _ if *digit > 4 => digit * 2 - 9,
        _ => digit * 2,
    };
    let sum: u32 = digits.iter().rev().enumerate().map(weighed).sum();
    (SHORTEST_DIGITS..=LONGEST_DIGITS).contains(&digits.len()) && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::holds_card_number;

    #[test]
    fn a_card_number_is_found_however_it_is_written() {
        for text in ["4242424242424242", "pay 4242 4242 4242 4242 please", "3782-822463-10005"] {
            assert!(holds_card_number(text), "{text}");
        }
    }

    #[test]
    fn tokens_and_ids_are_none() {
        for text in ["", "pm_card_visa", "pm_1PabcDEF", "4242424242424241", "424242424242", "4242  4242  4242  4242"] {
            assert!(!holds_card_number(text), "{text}");
        }
    }
}
