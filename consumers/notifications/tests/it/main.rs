//! Given what happened, when asked, then what happens.

mod contacts;
mod deciding;
mod mailing;
mod server;

use std::collections::BTreeMap;

use daybook_events::{NotificationId, NotificationRequested, PersonId, SendNotification};

const RECIPIENT: PersonId = PersonId::from_u128(1);
const NOTIFICATION: NotificationId = NotificationId::from_u128(2);

fn data() -> BTreeMap<String, String> {
    ["course_id", "enrollment_id"].map(|field| (field.to_owned(), "79d05da0".to_owned())).into()
}

fn welcome() -> SendNotification {
    SendNotification {
        recipient_id: RECIPIENT,
        notification_id: NOTIFICATION,
        template: "welcome".to_owned(),
        data: data(),
        class: "welcome".to_owned(),
    }
}

fn requested() -> NotificationRequested {
    NotificationRequested {
        recipient_id: RECIPIENT,
        notification_id: NOTIFICATION,
        template: "welcome.1".to_owned(),
        data: data(),
        class: "welcome".to_owned(),
        channel: "email".to_owned(),
        language: "und".to_owned(),
    }
}
