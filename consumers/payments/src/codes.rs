//! Why a command to a payment is refused.

daybook_consumer::codes! {
    /// The request holds a card number. Send the provider's token for the means of payment.
    CARD_NUMBER_REFUSED = "card-number-refused";
    /// The amount is not above zero, or larger than is taken at once.
    AMOUNT_INVALID = "amount-invalid";
    /// The token is empty or too long, or the statement is longer than 22 characters.
    PAYMENT_REQUEST_INVALID = "payment-request-invalid";
    /// The payment was asked for before, with other terms.
    TERMS_CHANGED = "terms-changed";
    /// The payment is canceled, for ever. A new payment needs a new id.
    PAYMENT_CANCELED = "payment-canceled";
    /// Nothing is authorized that could be captured.
    NOT_AUTHORIZED = "not-authorized";
    /// Nothing is captured that could be refunded.
    NOT_CAPTURED = "not-captured";
    /// More is to be refunded than is left of the payment, or in another currency.
    REFUND_TOO_LARGE = "refund-too-large";
    /// The payment has as many refunds as one can have.
    TOO_MANY_REFUNDS = "too-many-refunds";
    /// The provider did not void the authorization. Ask again; if it stays so, see the provider's dashboard.
    VOID_REFUSED = "void-refused";
    /// The provider did not refund. Ask again; a disputed payment can be refunded only when the dispute is won.
    REFUND_REFUSED = "refund-refused";
    /// The payment belongs to another organization.
    NOT_YOUR_ORGANIZATION = "not-your-organization";
}
