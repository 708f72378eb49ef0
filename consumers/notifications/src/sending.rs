//! The effect: handing a notification to a channel.

use daybook_consumer::{Acts, Conclusion, Context, EffectPolicy, Entity, OnUnknown, Provider};
use daybook_events::{
    NotificationFailed, NotificationRequested, NotificationSent, NotificationSuppressed, RecipientEvent,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Notifications;

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sending {
    /// The channel has taken it over, under this id of its own.
    Sent { message_id: String },
    /// There is nobody to send it to.
    Suppressed(WhyNot),
    /// The channel refused it for good.
    Failed(Failure),
}

/// Why there is nobody to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyNot {
    NoAddress,
    Erased,
    UnknownRecipient,
}

/// Why a channel did not take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    AddressRefused,
    MessageRefused,
}

impl WhyNot {
    fn code(self) -> &'static str {
        match self {
            Self::NoAddress => "no-address",
            Self::Erased => "erased",
            Self::UnknownRecipient => "unknown-recipient",
        }
    }
}

impl Failure {
    fn code(self) -> &'static str {
        match self {
            Self::AddressRefused => "address-refused",
            Self::MessageRefused => "message-refused",
        }
    }
}

/// What a channel that never took it is called.
const CHANNEL_UNAVAILABLE: &str = "channel-unavailable";

impl Acts for Notifications {
    /// The intent as it stands in the book; what is personal is looked up when it is sent.
    type Request = NotificationRequested;
    type Answer = Sending;

    /// Mail has no idempotency keys, and nobody can be asked what became of one. So what may have been sent is sent
    /// again, under the same `Message-ID`, by which the reader's mail program tells a duplicate.
    ///
    /// *2026-11: also what is not mandatory is sent at least once.* The policy holds for a part, not for a
    /// message, and the alternative would put every lost answer before an operator.
    ///
    /// The attempts are about a day of a server that cannot be reached.
    const EFFECTS: EffectPolicy = EffectPolicy {
        provider: Provider {
            name: "mail",
            down: &["mail-server-unreachable", "mail-timeout", "mail-answer-lost", "mail-answer-late"],
        },
        // A slow server holds nobody's key: what a recipient wants told does not depend on what was told before.
        detached: true,
        key_lifetime_ms: 0,
        has_lookup: false,
        settle_ms: 0,
        on_unknown: OnUnknown::AtLeastOnce,
        attempts_max: 300,
        backoff_min_ms: 1_000,
        backoff_max_ms: 300_000,
        // Most of a call is waiting for the contacts; the mail server sees fewer (`Mailer`).
        concurrency: 128,
        call_timeout_ms: 60_000,
    };

    fn request(event: &RecipientEvent) -> Option<NotificationRequested> {
        match event {
            RecipientEvent::NotificationRequested(event) => Some(event.clone()),
            RecipientEvent::NotificationPreferencesSet(_)
            | RecipientEvent::NotificationDeferred(_)
            | RecipientEvent::NotificationSent(_)
            | RecipientEvent::NotificationSuppressed(_)
            | RecipientEvent::NotificationFailed(_) => None,
        }
    }

    fn request_parts(request: &NotificationRequested) -> Vec<Uuid> {
        vec![request.notification_id.uuid()]
    }

    fn conclude(
        _recipient: &Entity<Self>,
        request: NotificationRequested,
        conclusion: Conclusion<Sending>,
        _cx: &Context,
    ) -> Vec<RecipientEvent> {
        let NotificationRequested { recipient_id, notification_id, channel, .. } = request;
        let failed = |code: &str| {
            let (channel, code) = (channel.clone(), code.to_owned());
            NotificationFailed { recipient_id, notification_id, channel, code }.into()
        };
        vec![match conclusion {
            Conclusion::Answered(Sending::Sent { message_id }) => {
                NotificationSent { recipient_id, notification_id, channel, message_id }.into()
            }
            Conclusion::Answered(Sending::Suppressed(why)) => {
                NotificationSuppressed { recipient_id, notification_id, why: why.code().to_owned() }.into()
            }
            Conclusion::Answered(Sending::Failed(failure)) => failed(failure.code()),
            Conclusion::GaveUp { .. } => failed(CHANNEL_UNAVAILABLE),
        }]
    }
}
