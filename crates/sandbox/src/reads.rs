//! The `/v1` routes that only read.

use crate::books::{Books, Charge};
use crate::error::ApiError;
use crate::form::Form;
use crate::http::{App, Asked};
use crate::listing::{self, Page};
use crate::provider::Reply;
use crate::wire::{self, Expand};
use axum::extract::{Path, State};

pub async fn show_intent(State(app): State<App>, Path(id): Path<String>, asked: Asked) -> Reply {
    let expand = Expand::of(&asked.form);
    let look = |books: &Books| {
        let row = books.intents.get(&id).ok_or_else(|| ApiError::missing("payment intent"))?;
        Ok(wire::intent(books, row, &expand))
    };
    app.provider.read(asked.wish.as_ref(), look).await
}

pub async fn show_charge(State(app): State<App>, Path(id): Path<String>, asked: Asked) -> Reply {
    let expand = Expand::of(&asked.form);
    let look = |books: &Books| {
        let row = books.charges.get(&id).ok_or_else(|| ApiError::missing("charge"))?;
        Ok(wire::charge(books, row, &expand))
    };
    app.provider.read(asked.wish.as_ref(), look).await
}

pub async fn show_refund(State(app): State<App>, Path(id): Path<String>, asked: Asked) -> Reply {
    let expand = Expand::of(&asked.form);
    let look = |books: &Books| {
        let row = books.refunds.get(&id).ok_or_else(|| ApiError::missing("refund"))?;
        Ok(wire::refund(books, row, &expand))
    };
    app.provider.read(asked.wish.as_ref(), look).await
}

pub async fn show_dispute(State(app): State<App>, Path(id): Path<String>, asked: Asked) -> Reply {
    let look = |books: &Books| {
        let row = books.disputes.get(&id).ok_or_else(|| ApiError::missing("dispute"))?;
        Ok(wire::dispute(books, row))
    };
    app.provider.read(asked.wish.as_ref(), look).await
}

pub async fn show_transaction(State(app): State<App>, Path(id): Path<String>, asked: Asked) -> Reply {
    let look = |books: &Books| {
        let row = books.transactions.get(&id).ok_or_else(|| ApiError::missing("balance transaction"))?;
        Ok(wire::transaction(row))
    };
    app.provider.read(asked.wish.as_ref(), look).await
}

pub async fn list_intents(State(app): State<App>, asked: Asked) -> Reply {
    let (form, expand) = (&asked.form, Expand::of_list(&asked.form));
    let look = |books: &Books| {
        form.expect_only(listing::PARAMETERS)?;
        let Page { rows, has_more } = listing::page(&books.intents, None, form)?;
        let data = rows.into_iter().map(|row| wire::intent(books, row, &expand)).collect();
        Ok(wire::list("/v1/payment_intents", data, has_more))
    };
    app.provider.read(asked.wish.as_ref(), look).await
}

pub async fn search(State(app): State<App>, asked: Asked) -> Reply {
    let (form, expand) = (&asked.form, Expand::of_list(&asked.form));
    let look = |books: &Books| {
        form.expect_only(&["query", "limit", "page", "expand"])?;
        let (Page { rows, has_more }, next_page) = listing::search(books, form)?;
        let data: Vec<_> = rows.into_iter().map(|row| wire::intent(books, row, &expand)).collect();
        Ok(serde_json::json!({
            "object": "search_result",
            "data": data,
            "has_more": has_more,
            "next_page": next_page,
            "url": "/v1/payment_intents/search",
        }))
    };
    app.provider.read(asked.wish.as_ref(), look).await
}

pub async fn list_refunds(State(app): State<App>, asked: Asked) -> Reply {
    let (form, expand) = (&asked.form, Expand::of_list(&asked.form));
    let look = |books: &Books| {
        form.expect_only(&[listing::PARAMETERS, &["payment_intent", "charge"]].concat())?;
        let charge = charge_asked_for(books, form);
        let chosen = charge.map(|charge| {
            let ids = charge.map(|charge| charge.refunds.as_slice()).unwrap_or_default();
            ids.iter().filter_map(|id| books.refunds.get(id)).collect()
        });
        let Page { rows, has_more } = listing::page(&books.refunds, chosen, form)?;
        let data = rows.into_iter().map(|row| wire::refund(books, row, &expand)).collect();
        Ok(wire::list("/v1/refunds", data, has_more))
    };
    app.provider.read(asked.wish.as_ref(), look).await
}

pub async fn list_disputes(State(app): State<App>, asked: Asked) -> Reply {
    let form = &asked.form;
    let look = |books: &Books| {
        form.expect_only(&[listing::PARAMETERS, &["payment_intent", "charge"]].concat())?;
        let charge = charge_asked_for(books, form);
        let chosen = charge.map(|charge| charge.and_then(|charge| books.dispute_of(charge)).into_iter().collect());
        let Page { rows, has_more } = listing::page(&books.disputes, chosen, form)?;
        let data = rows.into_iter().map(|row| wire::dispute(books, row)).collect();
        Ok(wire::list("/v1/disputes", data, has_more))
    };
    app.provider.read(asked.wish.as_ref(), look).await
}

pub async fn list_transactions(State(app): State<App>, asked: Asked) -> Reply {
    let form = &asked.form;
    let look = |books: &Books| {
        form.expect_only(&[listing::PARAMETERS, &["source"]].concat())?;
        let chosen = form.text("source").map(|source| books.transactions_of(source));
        let Page { rows, has_more } = listing::page(&books.transactions, chosen, form)?;
        let data = rows.into_iter().map(wire::transaction).collect();
        Ok(wire::list("/v1/balance_transactions", data, has_more))
    };
    app.provider.read(asked.wish.as_ref(), look).await
}

/// Whether a list is narrowed to one charge, and to which, if there is such a one.
fn charge_asked_for<'a>(books: &'a Books, form: &Form) -> Option<Option<&'a Charge>> {
    if let Some(id) = form.text("charge") {
        return Some(books.charges.get(id));
    }
    let intent = books.intents.get(form.text("payment_intent")?);
    Some(intent.and_then(|intent| books.charge_of(intent)))
}
