//! The adapter: finds the recipient, opens the contact data, writes the text, hands it to the mail server.

use std::sync::Arc;

use daybook_consumer::{Attempt, Perform};
use daybook_events::{NotificationId, NotificationRequested, PersonId, Sealed, derive_id};
use daybook_vault::{Error as VaultError, Opened, Vault};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use tokio::sync::Semaphore;

use crate::contacts::{Contact, ContactBook, ContactError, EMAIL_LABEL, Listing, NAME_LABEL};
use crate::smtp::{Delivery, SmtpServer};
use crate::template::{Renderer, Template};
use crate::{Failure, LANGUAGE_UNDETERMINED, Notifications, Sending, WhyNot};

/// Connections to the mail server at once: fewer than what servers grant one client, 50 with Postfix.
const CONNECTIONS_MAX: usize = 32;

/// Sends notifications as e-mail.
pub struct Mailer<B> {
    book: B,
    vault: Arc<Vault>,
    server: SmtpServer,
    from: Mailbox,
    renderer: Renderer,
    connections: Semaphore,
}

/// A sender is not a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sender is a mailbox, such as Daybook <no-reply@example.org>")]
pub struct SenderError;

/// An attempt that ends before anything is sent.
type Early<T> = Result<T, Attempt<Sending>>;

impl<B: ContactBook> Mailer<B> {
    /// A mailer that sends in the name of the mailbox `from`.
    ///
    /// # Errors
    /// When `from` is none.
    pub fn new(book: B, vault: Arc<Vault>, server: SmtpServer, from: &str) -> Result<Self, SenderError> {
        let from = from.parse().map_err(|_| SenderError)?;
        Ok(Self { book, vault, server, from, renderer: Renderer::new(), connections: Semaphore::new(CONNECTIONS_MAX) })
    }

    async fn send(&self, request: &NotificationRequested) -> Early<Sending> {
        let contact = self.contact(request.recipient_id).await?;
        let name = self.open(NAME_LABEL, &contact.name).await?;
        let email = self.open(EMAIL_LABEL, &contact.email).await?;
        let Ok(address) = email.parse::<Address>() else {
            return Ok(Sending::Failed(Failure::AddressRefused));
        };
        let message_id = message_id(request.recipient_id, request.notification_id, self.from.email.domain());
        let to = Mailbox::new(Some(name), address.clone());
        let message = self.message(request, &contact.language, to, &message_id)?;
        // It is never closed.
        let _turn = self.connections.acquire().await;
        match self.server.deliver(&self.from, &address, &message).await {
            Delivery::Taken => Ok(Sending::Sent { message_id }),
            Delivery::AddressRefused => Ok(Sending::Failed(Failure::AddressRefused)),
            Delivery::MessageRefused => Ok(Sending::Failed(Failure::MessageRefused)),
            Delivery::NotNow(code) => Err(Attempt::Refused { code }),
            Delivery::Lost(code) => Err(Attempt::Unknown { code }),
        }
    }

    async fn contact(&self, recipient_id: PersonId) -> Early<Contact> {
        match self.book.find(recipient_id).await {
            Ok(Listing::Listed(contact)) => Ok(contact),
            Ok(Listing::Erased) => Err(nobody(WhyNot::Erased)),
            Ok(Listing::Unknown) => Err(nobody(WhyNot::UnknownRecipient)),
            Err(ContactError::OutOfReach) => Err(Attempt::Refused { code: "contacts-unavailable" }),
            Err(ContactError::Behind) => Err(Attempt::Refused { code: "contacts-behind" }),
        }
    }

    async fn open(&self, label: &str, sealed: &Sealed) -> Early<String> {
        match self.vault.open(label, sealed).await {
            Ok(Opened::Plain(plain)) => {
                let text = std::str::from_utf8(plain.expose()).map_err(|_| nobody(WhyNot::NoAddress))?;
                Ok(text.to_owned())
            }
            Ok(Opened::Erased) => Err(nobody(WhyNot::Erased)),
            // These bytes will never open.
            Err(VaultError::Malformed { .. } | VaultError::NotAuthentic { .. }) => Err(nobody(WhyNot::NoAddress)),
            Err(_) => Err(Attempt::Refused { code: "vault-unavailable" }),
        }
    }

    /// The whole message, headers included.
    fn message(
        &self,
        request: &NotificationRequested,
        contact_language: &str,
        to: Mailbox,
        message_id: &str,
    ) -> Early<Vec<u8>> {
        let refused = || Attempt::Answered(Sending::Failed(Failure::MessageRefused));
        // A newer release may have asked for it: this one waits until it is replaced.
        let template = Template::of_id(&request.template).ok_or(Attempt::Refused { code: "template-not-here" })?;
        let language =
            if request.language == LANGUAGE_UNDETERMINED { contact_language } else { request.language.as_str() };
        let name = to.name.clone().unwrap_or_default();
        let rendered = self.renderer.render(template, language, &name, &request.data).map_err(|_| refused())?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(rendered.subject)
            .message_id(Some(message_id.to_owned()))
            .multipart(MultiPart::alternative_plain_html(rendered.plain, rendered.html))
            .map_err(|_| refused())?;
        Ok(message.formatted())
    }
}

fn nobody(why: WhyNot) -> Attempt<Sending> {
    Attempt::Answered(Sending::Suppressed(why))
}

/// The `Message-ID` of a notification: it follows from whom and what it is for, so that each attempt has the same.
pub fn message_id(recipient_id: PersonId, notification_id: NotificationId, domain: &str) -> String {
    let (recipient, notification) = (recipient_id.uuid(), notification_id.uuid());
    format!("<{}@{domain}>", derive_id("notification-message", &[recipient.as_bytes(), notification.as_bytes()]))
}

impl<B: ContactBook> Perform<Notifications> for Mailer<B> {
    async fn perform(&self, request: &NotificationRequested, _key: &str) -> Attempt<Sending> {
        self.send(request).await.map_or_else(|early| early, Attempt::Answered)
    }

    /// There is nobody to ask; the policy declares no lookup, so nobody does.
    async fn look_up(&self, _request: &NotificationRequested, _key: &str) -> Attempt<Sending> {
        Attempt::Unknown { code: "mail-without-lookup" }
    }
}
