//! Why a command to a recipient is refused.

daybook_consumer::codes! {
    /// There is no such class of notifications. See the schema of SendNotification.
    CLASS_UNKNOWN = "class-unknown";
    /// There is no template of this name. See the templates of the notifications consumer.
    TEMPLATE_UNKNOWN = "template-unknown";
    /// The template needs a field that was not given; the detail tells which.
    TEMPLATE_FIELD_MISSING = "template-field-missing";
    /// More fields, or longer ones, than a notification may have.
    NOTIFICATION_TOO_LARGE = "notification-too-large";
    /// It is being sent, on behalf of an earlier command, which its outcome closes.
    NOTIFICATION_UNDER_WAY = "notification-under-way";
    /// Language, time zone, quiet hours or classes do not make sense; the detail tells which.
    PREFERENCES_INVALID = "preferences-invalid";
}
