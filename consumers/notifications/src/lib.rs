#![doc = include_str!("../README.md")]

pub mod codes;
mod contacts;
mod mailer;
mod preferences;
mod sending;
mod smtp;
mod template;

use std::collections::BTreeMap;

use codes::*;
use daybook_consumer::{
    Aggregate, Context, Decision, Entity, Part, Perform, Rejection, State, already, ensure, happened, reject,
};
use daybook_events::{
    NotificationDeferred, NotificationId, NotificationPreferencesSet, NotificationRequested, NotificationSent,
    NotificationSuppressed, RecipientCommand, RecipientEvent, SendNotification, SetNotificationPreferences, Timestamp,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use contacts::{Contact, ContactBook, ContactError, EMAIL_LABEL, Listing, NAME_LABEL, NotificationContacts};
pub use mailer::{Mailer, SenderError, message_id};
pub use preferences::{LANGUAGE_UNDETERMINED, Preferences, QuietHours};
pub use sending::{Failure, Sending, WhyNot};
pub use smtp::{SmtpServer, SmtpUrlError};
pub use template::{Rendered, Renderer, TEMPLATES, Template};

/// The classes of notifications.
pub const CLASSES: [&str; 5] = ["receipt", "security", "welcome", "reminder", "digest"];

/// Those that ignore opt-outs and quiet hours.
pub const MANDATORY: [&str; 2] = ["receipt", "security"];

/// The channel there is.
pub const EMAIL: &str = "email";

/// The most fields that a notification brings along.
pub const FIELDS_MAX: usize = 32;
/// The longest field, in bytes, its name included.
pub const FIELD_MAX_BYTES: usize = 1_000;

/// The parts of this leaf, sending by this adapter: a [`Mailer`], or a simulated one.
pub fn parts(channel: impl Perform<Notifications>) -> Vec<Part> {
    vec![Part::acting::<Notifications>(channel), Part::projection::<NotificationContacts>()]
}

/// The aggregate.
pub struct Notifications;

/// A recipient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recipient {
    pub preferences: Preferences,
}

impl State for Recipient {}

/// What became of a notification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Notice {
    /// Never heard of; or it failed, so that asking again tries again.
    #[default]
    New,
    /// Waits for the quiet hours to end.
    Deferred(NotificationDeferred),
    /// Handed to a channel.
    Requested,
    Sent(NotificationSent),
    Suppressed(NotificationSuppressed),
}

impl State for Notice {}

type Decided = Result<Decision<RecipientEvent>, Rejection>;

impl Aggregate for Notifications {
    const NAME: &'static str = "notifications";
    type Command = RecipientCommand;
    type Event = RecipientEvent;
    type State = Recipient;
    type Part = Notice;

    fn command_parts(command: &RecipientCommand) -> Vec<Uuid> {
        match command {
            RecipientCommand::SendNotification(ask) => vec![ask.notification_id.uuid()],
            RecipientCommand::SetNotificationPreferences(_) => Vec::new(),
        }
    }

    fn event_parts(event: &RecipientEvent) -> Vec<Uuid> {
        notification_of(event).map(NotificationId::uuid).into_iter().collect()
    }

    fn decide(recipient: &Entity<Self>, command: RecipientCommand, cx: &Context) -> Decided {
        match command {
            RecipientCommand::SendNotification(ask) => send(recipient, ask, cx.now()),
            RecipientCommand::SetNotificationPreferences(ask) => set_preferences(recipient, ask),
        }
    }

    fn evolve(recipient: &mut Entity<Self>, event: &RecipientEvent) {
        match event {
            RecipientEvent::NotificationPreferencesSet(event) => recipient.preferences = Preferences::of(event),
            RecipientEvent::NotificationDeferred(event) => {
                *recipient.part_mut(event.notification_id) = Notice::Deferred(event.clone());
            }
            RecipientEvent::NotificationRequested(event) => {
                *recipient.part_mut(event.notification_id) = Notice::Requested;
            }
            RecipientEvent::NotificationSent(event) => {
                *recipient.part_mut(event.notification_id) = Notice::Sent(event.clone());
            }
            RecipientEvent::NotificationSuppressed(event) => {
                *recipient.part_mut(event.notification_id) = Notice::Suppressed(event.clone());
            }
            RecipientEvent::NotificationFailed(event) => {
                *recipient.part_mut(event.notification_id) = Notice::New;
            }
        }
    }

    fn part_due(_key: Uuid, _id: Uuid, notice: &Notice) -> Option<(Timestamp, RecipientCommand)> {
        let Notice::Deferred(deferred) = notice else { return None };
        let again = SendNotification {
            recipient_id: deferred.recipient_id,
            notification_id: deferred.notification_id,
            template: deferred.template.clone(),
            data: deferred.data.clone(),
            class: deferred.class.clone(),
        };
        Some((deferred.deferred_until, again.into()))
    }
}

fn notification_of(event: &RecipientEvent) -> Option<NotificationId> {
    match event {
        RecipientEvent::NotificationPreferencesSet(_) => None,
        RecipientEvent::NotificationDeferred(event) => Some(event.notification_id),
        RecipientEvent::NotificationRequested(event) => Some(event.notification_id),
        RecipientEvent::NotificationSent(event) => Some(event.notification_id),
        RecipientEvent::NotificationSuppressed(event) => Some(event.notification_id),
        RecipientEvent::NotificationFailed(event) => Some(event.notification_id),
    }
}

fn send(recipient: &Entity<Notifications>, ask: SendNotification, now: Timestamp) -> Decided {
    match recipient.part(ask.notification_id) {
        Notice::Sent(sent) => return already(sent.clone()),
        Notice::Suppressed(suppressed) => return already(suppressed.clone()),
        Notice::Deferred(deferred) if now < deferred.deferred_until => return already(deferred.clone()),
        Notice::Requested => return reject(NOTIFICATION_UNDER_WAY),
        Notice::New | Notice::Deferred(_) => {}
    }
    let template = check(&ask)?;
    if MANDATORY.contains(&ask.class.as_str()) {
        return happened(requested(recipient, ask, template));
    }
    if recipient.preferences.opted_out.contains(&ask.class) {
        return happened(suppressed(&ask));
    }
    match recipient.preferences.quiet_until(now) {
        Some(end) => happened(deferred(ask, end)),
        None => happened(requested(recipient, ask, template)),
    }
}

fn check(ask: &SendNotification) -> Result<&'static Template, Rejection> {
    ensure!(CLASSES.contains(&ask.class.as_str()), CLASS_UNKNOWN);
    ensure!(is_small(&ask.data), NOTIFICATION_TOO_LARGE);
    let Some(template) = Template::newest(&ask.template) else { return Err(TEMPLATE_UNKNOWN.into()) };
    match template.missing_field(&ask.data) {
        Some(field) => Err(Rejection::with(TEMPLATE_FIELD_MISSING, field)),
        None => Ok(template),
    }
}

fn is_small(data: &BTreeMap<String, String>) -> bool {
    data.len() <= FIELDS_MAX && data.iter().all(|(field, value)| field.len() + value.len() <= FIELD_MAX_BYTES)
}

fn requested(recipient: &Recipient, ask: SendNotification, template: &Template) -> NotificationRequested {
    NotificationRequested {
        recipient_id: ask.recipient_id,
        notification_id: ask.notification_id,
        template: template.id(),
        data: ask.data,
        class: ask.class,
        channel: EMAIL.to_owned(),
        language: recipient.preferences.language.clone(),
    }
}

fn suppressed(ask: &SendNotification) -> NotificationSuppressed {
    NotificationSuppressed {
        recipient_id: ask.recipient_id,
        notification_id: ask.notification_id,
        why: "opted-out".to_owned(),
    }
}

fn deferred(ask: SendNotification, deferred_until: Timestamp) -> NotificationDeferred {
    NotificationDeferred {
        recipient_id: ask.recipient_id,
        notification_id: ask.notification_id,
        template: ask.template,
        data: ask.data,
        class: ask.class,
        deferred_until,
    }
}

fn set_preferences(recipient: &Recipient, ask: SetNotificationPreferences) -> Decided {
    preferences::check(&ask)?;
    let set = NotificationPreferencesSet {
        recipient_id: ask.recipient_id,
        language: ask.language,
        time_zone: ask.time_zone,
        quiet_from_minute: ask.quiet_from_minute,
        quiet_until_minute: ask.quiet_until_minute,
        opted_out: ask.opted_out,
    };
    if recipient.preferences == Preferences::of(&set) { already(set) } else { happened(set) }
}
