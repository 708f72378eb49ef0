//! The adapter, against a mail server that answers by script.

use std::sync::Arc;

use daybook_consumer::{Attempt, Perform};
use daybook_events::{NotificationRequested, PersonId, Sealed};
use daybook_vault::{InMemoryKeyStore, MasterKeys, OsAmbient, Vault};
use notifications::{
    Contact, ContactBook, ContactError, EMAIL_LABEL, Failure, Listing, Mailer, NAME_LABEL, Sending, SmtpServer, WhyNot,
    message_id,
};

use crate::server::{Script, serve};
use crate::{NOTIFICATION, RECIPIENT, requested};

/// Answers the same about everybody.
struct Book(Result<Listing, ContactError>);

impl ContactBook for Book {
    async fn find(&self, _: PersonId) -> Result<Listing, ContactError> {
        self.0.clone()
    }
}

fn vault() -> Arc<Vault> {
    let masters = MasterKeys::parse(&["first:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]).unwrap();
    Arc::new(Vault::new(masters, Arc::new(InMemoryKeyStore::default()), Arc::new(OsAmbient::default())))
}

async fn sealed(vault: &Vault, label: &str, text: &str) -> Sealed {
    vault.seal(RECIPIENT.uuid(), label, text.as_bytes()).await.unwrap()
}

async fn listed(vault: &Vault, email: &str) -> Listing {
    Listing::Listed(Contact {
        name: sealed(vault, NAME_LABEL, "Chloë Example").await,
        email: sealed(vault, EMAIL_LABEL, email).await,
        language: "es-MX".to_owned(),
    })
}

fn mailer(book: Result<Listing, ContactError>, vault: Arc<Vault>, url: &str) -> Mailer<Book> {
    let server = SmtpServer::parse(url).unwrap();
    Mailer::new(Book(book), vault, server, "Daybook <no-reply@example.org>").unwrap()
}

/// What an attempt comes to with such a server, and what the server heard.
async fn attempt(script: Script) -> (Attempt<Sending>, Vec<String>) {
    let (address, heard) = serve(script).await;
    let vault = vault();
    let listing = listed(&vault, "chloe@example.com").await;
    let mailer = mailer(Ok(listing), vault, &format!("smtp://{address}"));
    let attempt = mailer.perform(&requested(), "key").await;
    drop(mailer);
    (attempt, heard.await.unwrap())
}

/// What it comes to without any server: nobody listens at port 1.
async fn without_server(book: Result<Listing, ContactError>, vault: Arc<Vault>) -> Attempt<Sending> {
    mailer(book, vault, "smtp://127.0.0.1:1").perform(&requested(), "key").await
}

fn failed(failure: Failure) -> Attempt<Sending> {
    Attempt::Answered(Sending::Failed(failure))
}

fn suppressed(why: WhyNot) -> Attempt<Sending> {
    Attempt::Answered(Sending::Suppressed(why))
}

#[tokio::test]
async fn a_message_carries_text_subject_and_an_id_that_follows_from_its_cause() {
    let (attempt, heard) = attempt(Script::GOOD).await;
    let message_id = message_id(RECIPIENT, NOTIFICATION, "example.org");
    assert_eq!(attempt, Attempt::Answered(Sending::Sent { message_id: message_id.clone() }));
    let has = |line: &str| heard.iter().any(|heard| heard == line);
    assert!(has("EHLO example.org"), "{heard:#?}");
    assert!(has("MAIL FROM:<no-reply@example.org>") && has("RCPT TO:<chloe@example.com>"), "{heard:#?}");
    assert!(has(&format!("Message-ID: {message_id}")), "{heard:#?}");
    assert!(has("From: Daybook <no-reply@example.org>"), "{heard:#?}");
    let subject = heard.iter().find(|line| line.starts_with("Subject: ")).unwrap();
    assert!(subject.starts_with("Subject: Su "), "in the language of the contact: {subject}");
    assert!(heard.iter().any(|line| line.contains("79d05da0")), "{heard:#?}");
    assert!(heard.iter().all(|line| line.is_ascii()), "any server can take it");
}

#[tokio::test]
async fn what_the_server_has_not_taken_is_tried_again() {
    let not_now = [
        Script { greeting: "", ..Script::GOOD },
        Script { greeting: "421 busy", ..Script::GOOD },
        Script { mail: "451 later", ..Script::GOOD },
        Script { mail: "550 not you", ..Script::GOOD },
        Script { rcpt: "450 full", ..Script::GOOD },
        Script { rcpt: "", ..Script::GOOD },
        Script { data: "452 later", ..Script::GOOD },
        Script { end: "451 later", ..Script::GOOD },
    ];
    for script in not_now {
        let (attempt, heard) = attempt(script).await;
        assert!(matches!(attempt, Attempt::Refused { .. }), "{attempt:?}: {heard:#?}");
    }
    let vault = vault();
    let listing = listed(&vault, "chloe@example.com").await;
    let unreachable = without_server(Ok(listing), vault).await;
    assert_eq!(unreachable, Attempt::Refused { code: "mail-server-unreachable" });
}

#[tokio::test]
async fn what_the_server_refuses_for_good_has_failed() {
    let (no_mailbox, _) = attempt(Script { rcpt: "550 no such mailbox", ..Script::GOOD }).await;
    assert_eq!(no_mailbox, failed(Failure::AddressRefused));
    let (spam, _) = attempt(Script { end: "554 looks like spam", ..Script::GOOD }).await;
    assert_eq!(spam, failed(Failure::MessageRefused));
}

#[tokio::test]
async fn when_the_answer_to_the_message_is_lost_nobody_knows() {
    let (lost, heard) = attempt(Script { end: "", ..Script::GOOD }).await;
    assert_eq!(lost, Attempt::Unknown { code: "mail-answer-lost" });
    assert!(heard.iter().any(|line| line.starts_with("Message-ID")), "it may have been taken");
}

#[tokio::test]
async fn nobody_to_send_to_is_told_and_a_book_that_cannot_tell_is_asked_again() {
    let answers = [
        (Ok(Listing::Unknown), suppressed(WhyNot::UnknownRecipient)),
        (Ok(Listing::Erased), suppressed(WhyNot::Erased)),
        (Err(ContactError::Behind), Attempt::Refused { code: "contacts-behind" }),
        (Err(ContactError::OutOfReach), Attempt::Refused { code: "contacts-unavailable" }),
    ];
    for (book, expected) in answers {
        assert_eq!(without_server(book, vault()).await, expected);
    }
}

#[tokio::test]
async fn what_was_sealed_for_an_erased_person_or_another_field_is_sent_nowhere() {
    let erasing = vault();
    let listing = listed(&erasing, "chloe@example.com").await;
    erasing.erase(RECIPIENT.uuid()).await.unwrap();
    assert_eq!(without_server(Ok(listing), erasing).await, suppressed(WhyNot::Erased));

    let mixing = vault();
    let name = sealed(&mixing, NAME_LABEL, "Chloë Example").await;
    let mixed = Listing::Listed(Contact { name: name.clone(), email: name, language: "en".to_owned() });
    assert_eq!(without_server(Ok(mixed), mixing).await, suppressed(WhyNot::NoAddress));

    let typing = vault();
    let odd = listed(&typing, "not an address\r\nBcc: x@example.com").await;
    assert_eq!(without_server(Ok(odd), typing).await, failed(Failure::AddressRefused));
}

#[tokio::test]
async fn a_template_of_a_newer_release_waits_for_it() {
    let vault = vault();
    let listing = listed(&vault, "chloe@example.com").await;
    let newer = NotificationRequested { template: "welcome.99".to_owned(), ..requested() };
    let attempt = mailer(Ok(listing), vault, "smtp://127.0.0.1:1").perform(&newer, "key").await;
    assert_eq!(attempt, Attempt::Refused { code: "template-not-here" });
}
