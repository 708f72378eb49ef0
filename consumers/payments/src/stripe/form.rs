//! Requests as Stripe's forms. They hold ids of ours, and nobody's name.

use crate::ProviderRequest;
use crate::effects::Authorization;

/// Makes an answer tell the provider's fee.
pub(super) const EXPAND_FEE: &str = "latest_charge.balance_transaction";

/// Fields of a form in order.
pub(super) type Form = Vec<(&'static str, String)>;

/// Path and form of a request.
pub(super) fn of(request: &ProviderRequest) -> (String, Form) {
    match request {
        ProviderRequest::Authorize(ask) => ("/v1/payment_intents".to_owned(), authorization(ask)),
        ProviderRequest::Capture(of) => (
            format!("/v1/payment_intents/{}/capture", of.reference),
            vec![("amount_to_capture", of.amount.amount_minor.to_string()), ("expand[]", EXPAND_FEE.to_owned())],
        ),
        ProviderRequest::Void(of) => (format!("/v1/payment_intents/{}/cancel", of.reference), Vec::new()),
        ProviderRequest::Refund { of, refund_id, reason } => (
            "/v1/refunds".to_owned(),
            vec![
                ("payment_intent", of.reference.clone()),
                ("amount", of.amount.amount_minor.to_string()),
                ("reason", reason.replace('-', "_")),
                ("metadata[payment_id]", of.payment_id.to_string()),
                ("metadata[organization_id]", of.organization_id.to_string()),
                ("metadata[refund_id]", refund_id.to_string()),
            ],
        ),
    }
}

fn authorization(ask: &Authorization) -> Form {
    let mut form = vec![
        ("amount", ask.amount.amount_minor.to_string()),
        ("currency", ask.amount.currency.as_str().to_ascii_lowercase()),
        ("payment_method", ask.payment_token.clone()),
        ("payment_method_types[]", "card".to_owned()),
        ("capture_method", "manual".to_owned()),
        ("confirm", "true".to_owned()),
        ("metadata[payment_id]", ask.payment_id.to_string()),
        ("metadata[enrollment_id]", ask.enrollment_id.to_string()),
        ("metadata[organization_id]", ask.organization_id.to_string()),
    ];
    if !ask.statement.is_empty() {
        form.push(("statement_descriptor_suffix", ask.statement.clone()));
    }
    form
}
