//! Payments: what finance may do by hand.

use daybook_events::RefundPayment;
use daybook_facade::{Access, Asked, CommandRoute, Problem, command};
use http::Method;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::values::MoneyBody;

pub(crate) fn routes() -> Vec<CommandRoute> {
    let refund_scope = Access::Scope("payments:refund");
    vec![command(
        Method::POST,
        "/payments/{payment_id}/refunds",
        refund_scope,
        "Refunds a payment, or a part of it.",
        refund,
    )]
}

/// What is paid back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RefundPayment)]
struct Refund {
    /// Above zero.
    amount: MoneyBody,
    /// requested-by-customer, duplicate or fraudulent.
    #[schema(example = "requested-by-customer")]
    reason: String,
}

async fn refund(asked: Asked<Refund>) -> Result<RefundPayment, Problem> {
    let Asked { body, about } = asked;
    Ok(RefundPayment {
        payment_id: about.id("payment_id")?,
        refund_id: about.new_id("refund"),
        amount: body.amount.into(),
        reason: body.reason,
    })
}
