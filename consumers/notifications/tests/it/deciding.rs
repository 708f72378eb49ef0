//! The aggregate.

use std::collections::BTreeMap;

use daybook_consumer::testing::{Bench, given};
use daybook_consumer::{Attempt, Conclusion, Perform};
use daybook_events::{
    NotificationDeferred, NotificationFailed, NotificationPreferencesSet, NotificationRequested, NotificationSent,
    NotificationSuppressed, RecipientEvent, SendNotification, SetNotificationPreferences, Timestamp,
};
use notifications::codes::*;
use notifications::{FIELD_MAX_BYTES, FIELDS_MAX, Failure, Notifications, Sending, WhyNot};

use crate::{NOTIFICATION, RECIPIENT, data, requested, welcome};

/// 03:00 in New York.
const NIGHT: &str = "2026-01-15T08:00:00Z";
/// 07:00 in New York.
const MORNING: &str = "2026-01-15T12:00:00Z";

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn set() -> SetNotificationPreferences {
    SetNotificationPreferences {
        recipient_id: RECIPIENT,
        language: "es".to_owned(),
        time_zone: "America/New_York".to_owned(),
        quiet_from_minute: Some(22 * 60),
        quiet_until_minute: Some(7 * 60),
        opted_out: vec!["digest".to_owned(), "receipt".to_owned()],
    }
}

fn preferences_set() -> NotificationPreferencesSet {
    let ask = set();
    NotificationPreferencesSet {
        recipient_id: RECIPIENT,
        language: ask.language,
        time_zone: ask.time_zone,
        quiet_from_minute: ask.quiet_from_minute,
        quiet_until_minute: ask.quiet_until_minute,
        opted_out: ask.opted_out,
    }
}

fn deferred() -> NotificationDeferred {
    NotificationDeferred {
        recipient_id: RECIPIENT,
        notification_id: NOTIFICATION,
        template: "welcome".to_owned(),
        data: data(),
        class: "welcome".to_owned(),
        deferred_until: at(MORNING),
    }
}

fn in_spanish() -> NotificationRequested {
    NotificationRequested { language: "es".to_owned(), ..requested() }
}

fn sent() -> NotificationSent {
    NotificationSent {
        recipient_id: RECIPIENT,
        notification_id: NOTIFICATION,
        channel: "email".to_owned(),
        message_id: "<1@example.org>".to_owned(),
    }
}

fn suppressed(why: &str) -> NotificationSuppressed {
    NotificationSuppressed { recipient_id: RECIPIENT, notification_id: NOTIFICATION, why: why.to_owned() }
}

fn failed(code: &str) -> NotificationFailed {
    NotificationFailed {
        recipient_id: RECIPIENT,
        notification_id: NOTIFICATION,
        channel: "email".to_owned(),
        code: code.to_owned(),
    }
}

fn answered_sent() -> Conclusion<Sending> {
    Conclusion::Answered(Sending::Sent { message_id: "<1@example.org>".to_owned() })
}

#[test]
fn a_notification_is_sent_once() {
    given::<Notifications>([])
        .when(welcome())
        .then([requested().into()])
        .when(welcome())
        .then_rejected(NOTIFICATION_UNDER_WAY)
        .when_concluded(answered_sent())
        .then([sent().into()])
        .when(welcome())
        .then_already(sent());
}

#[test]
fn how_the_channel_ends_is_told() {
    let ends: [(Conclusion<Sending>, RecipientEvent); 5] = [
        (Conclusion::Answered(Sending::Suppressed(WhyNot::Erased)), suppressed("erased").into()),
        (Conclusion::Answered(Sending::Suppressed(WhyNot::UnknownRecipient)), suppressed("unknown-recipient").into()),
        (Conclusion::Answered(Sending::Failed(Failure::AddressRefused)), failed("address-refused").into()),
        (Conclusion::Answered(Sending::Failed(Failure::MessageRefused)), failed("message-refused").into()),
        (Conclusion::GaveUp { code: "mail-timeout".to_owned() }, failed("channel-unavailable").into()),
    ];
    for (end, event) in ends {
        given::<Notifications>([requested().into()]).when_concluded(end).then([event]);
    }
}

#[test]
fn what_failed_may_be_asked_for_again() {
    given::<Notifications>([requested().into(), failed("channel-unavailable").into()])
        .when(welcome())
        .then([requested().into()]);
}

#[test]
fn what_is_not_mandatory_waits_for_the_end_of_the_quiet_hours() {
    let waiting = given::<Notifications>([preferences_set().into()])
        .at(at(NIGHT))
        .when(welcome())
        .then([deferred().into()])
        .when(welcome())
        .then_already(deferred());
    assert_eq!(waiting.parts_due(), [(at(MORNING), welcome().into())]);
    let taken_up = waiting.at(at(MORNING)).when(welcome()).then([in_spanish().into()]);
    assert_eq!(taken_up.parts_due(), []);
}

#[test]
fn mandatory_classes_ignore_opt_outs_and_quiet_hours() {
    for class in ["receipt", "security"] {
        let ask = SendNotification { class: class.to_owned(), ..welcome() };
        given::<Notifications>([preferences_set().into()]).at(at(NIGHT)).when(ask).then([NotificationRequested {
            class: class.to_owned(),
            ..in_spanish()
        }
        .into()]);
    }
}

#[test]
fn what_is_not_wanted_is_suppressed_also_if_it_waited() {
    let digest = || SendNotification { class: "digest".to_owned(), ..welcome() };
    given::<Notifications>([preferences_set().into()])
        .when(digest())
        .then([suppressed("opted-out").into()])
        .when(digest())
        .then_already(suppressed("opted-out"));
    let opted_out = NotificationPreferencesSet { opted_out: vec!["welcome".to_owned()], ..preferences_set() };
    given::<Notifications>([deferred().into(), opted_out.into()])
        .at(at(MORNING))
        .when(welcome())
        .then([suppressed("opted-out").into()]);
}

#[test]
fn what_cannot_be_rendered_is_refused() {
    let when = |ask| given::<Notifications>([]).when(ask);
    when(SendNotification { class: "gossip".to_owned(), ..welcome() }).then_rejected(CLASS_UNKNOWN);
    when(SendNotification { template: "lottery".to_owned(), ..welcome() }).then_rejected(TEMPLATE_UNKNOWN);
    when(SendNotification { data: BTreeMap::new(), ..welcome() }).then_rejected(TEMPLATE_FIELD_MISSING);
    let long = [("course_id".to_owned(), "x".repeat(FIELD_MAX_BYTES))].into();
    when(SendNotification { data: long, ..welcome() }).then_rejected(NOTIFICATION_TOO_LARGE);
    let many = (0..=FIELDS_MAX).map(|number| (number.to_string(), String::new())).collect();
    when(SendNotification { data: many, ..welcome() }).then_rejected(NOTIFICATION_TOO_LARGE);
}

#[test]
fn preferences_must_make_sense() {
    let odd = [
        SetNotificationPreferences { language: "e n".to_owned(), ..set() },
        SetNotificationPreferences { time_zone: "Mars/Base".to_owned(), ..set() },
        SetNotificationPreferences { quiet_until_minute: None, ..set() },
        SetNotificationPreferences { quiet_until_minute: set().quiet_from_minute, ..set() },
        SetNotificationPreferences { quiet_from_minute: Some(24 * 60), ..set() },
        SetNotificationPreferences { opted_out: vec!["digest".to_owned(); 6], ..set() },
    ];
    for ask in odd {
        given::<Notifications>([]).when(ask).then_rejected(PREFERENCES_INVALID);
    }
    let gossip = SetNotificationPreferences { opted_out: vec!["gossip".to_owned()], ..set() };
    given::<Notifications>([]).when(gossip).then_rejected(CLASS_UNKNOWN);
    given::<Notifications>([]).when(set()).then([preferences_set().into()]).when(set()).then_already(preferences_set());
}

/// A channel that is never called.
struct NoChannel;

impl Perform<Notifications> for NoChannel {
    async fn perform(&self, _: &NotificationRequested, _: &str) -> Attempt<Sending> {
        unreachable!("nothing is performed here")
    }

    async fn look_up(&self, _: &NotificationRequested, _: &str) -> Attempt<Sending> {
        unreachable!("nothing is performed here")
    }
}

#[test]
fn every_command_gets_one_reply_and_a_deferred_one_is_sent_without_another() {
    let mut bench = Bench::new(&notifications::parts(NoChannel)[0]);
    bench.now = at(NIGHT);
    assert_eq!(bench.send(&set()).unwrap().replies::<NotificationPreferencesSet>(), [preferences_set()]);
    let handled = bench.send(&welcome()).unwrap();
    assert_eq!(handled.replies::<NotificationDeferred>(), [deferred()]);
    assert!(bench.intent(RECIPIENT).is_none());

    bench.now = at(MORNING);
    let fired = bench.fire().unwrap();
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0].events::<NotificationRequested>(), [in_spanish()]);
    assert_eq!(bench.intent(RECIPIENT).expect("it is handed to the channel").reply, None);
}
