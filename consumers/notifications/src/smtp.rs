//! One message over SMTP (RFC 5321). Whether a message was sent hangs on a single moment, the end of its data; so the dialog
//! is led step by step, to tell what failed before that from what was lost after it.

use std::fmt;
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use tokio::time::timeout;

/// From connecting until the server waits for the message.
const OPENING_LIMIT: Duration = Duration::from_secs(20);
/// From the message's first byte to the server's answer.
const TRANSFER_LIMIT: Duration = Duration::from_secs(30);

const SMTP_PORT: u16 = 25;
const SMTPS_PORT: u16 = 465;

/// A mail server.
#[derive(Clone)]
pub struct SmtpServer {
    host: String,
    port: u16,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
}

/// Tells neither user nor password.
impl fmt::Debug for SmtpServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SmtpServer({}:{})", self.host, self.port)
    }
}

/// An address of a mail server is unusable. The address itself is a secret and is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SmtpUrlError {
    #[error("the mail server's address is smtp://host:port or smtps://user:password@host:port")]
    Malformed,
    #[error("user and password would go over the network in clear: use smtps://")]
    CredentialsInClear,
    #[error("the mail server's name is not one that TLS can check")]
    Tls,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Taken,
    /// For good: there is no such mailbox.
    AddressRefused,
    /// For good.
    MessageRefused,
    /// Surely not taken; another attempt may do better.
    NotNow(&'static str),
    /// The answer is missing: it may have been taken.
    Lost(&'static str),
}

impl SmtpServer {
    /// Reads `smtp://host:port` or `smtps://user:password@host:port`; what is special in user and password is
    /// percent-encoded.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(url: &str) -> Result<Self, SmtpUrlError> {
        let uri: http::Uri = url.parse().map_err(|_| SmtpUrlError::Malformed)?;
        let authority = uri.authority().ok_or(SmtpUrlError::Malformed)?;
        let is_tls = match uri.scheme_str() {
            Some("smtp") => false,
            Some("smtps") => true,
            _ => return Err(SmtpUrlError::Malformed),
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() || uri.path().len() > 1 || uri.query().is_some() {
            return Err(SmtpUrlError::Malformed);
        }
        let credentials = match authority.as_str().rsplit_once('@') {
            Some(_) if !is_tls => return Err(SmtpUrlError::CredentialsInClear),
            Some((user_info, _)) => Some(credentials(user_info).ok_or(SmtpUrlError::Malformed)?),
            None => None,
        };
        let tls = is_tls.then(|| TlsParameters::new(host.clone())).transpose().map_err(|_| SmtpUrlError::Tls)?;
        let port = authority.port_u16().unwrap_or(if is_tls { SMTPS_PORT } else { SMTP_PORT });
        Ok(Self { host, port, tls, credentials })
    }

    /// Hands a formatted message over.
    pub(crate) async fn deliver(&self, from: &Mailbox, to: &Address, message: &[u8]) -> Delivery {
        let mut connection = match timeout(OPENING_LIMIT, self.open(&from.email, to)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(delivery)) => return delivery,
            Err(_) => return Delivery::NotNow("mail-timeout"),
        };
        match timeout(TRANSFER_LIMIT, connection.message(message)).await {
            Ok(Ok(_)) => Delivery::Taken,
            Ok(Err(error)) if error.is_permanent() => Delivery::MessageRefused,
            Ok(Err(error)) if error.is_transient() => Delivery::NotNow("mail-deferred"),
            Ok(Err(_)) => Delivery::Lost("mail-answer-lost"),
            Err(_) => Delivery::Lost("mail-answer-late"),
        }
    }

    /// Leads the dialog up to where the server waits for the message.
    async fn open(&self, from: &Address, to: &Address) -> Result<AsyncSmtpConnection, Delivery> {
        let mut connection = self.connect(from).await.map_err(|_| Delivery::NotNow("mail-server-unreachable"))?;
        let mut options = Vec::new();
        if !from.to_string().is_ascii() || !to.to_string().is_ascii() {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(Delivery::AddressRefused);
            }
            options.push(MailParameter::SmtpUtfEight);
        }
        // A sender that is refused is a matter of settings, not of this message: so it is tried again.
        let refused = |_| Delivery::NotNow("mail-sender-refused");
        connection.command(Mail::new(Some(from.clone()), options)).await.map_err(refused)?;
        connection
            .command(Rcpt::new(to.clone(), Vec::new()))
            .await
            .map_err(|error| refused_for(&error, Delivery::AddressRefused))?;
        connection.command(Data).await.map_err(|error| refused_for(&error, Delivery::MessageRefused))?;
        Ok(connection)
    }

    async fn connect(&self, from: &Address) -> Result<AsyncSmtpConnection, Error> {
        let hello = ClientId::Domain(from.domain().to_owned());
        let server = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(OPENING_LIMIT), &hello, self.tls.clone(), None).await?;
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

/// Before the message is sent, whatever is not a refusal for good can be tried again.
fn refused_for(error: &Error, for_good: Delivery) -> Delivery {
    if error.is_permanent() { for_good } else { Delivery::NotNow("mail-deferred") }
}

fn credentials(user_info: &str) -> Option<Credentials> {
    let (user, password) = user_info.split_once(':')?;
    Some(Credentials::new(percent_decoded(user)?, percent_decoded(password)?))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        bytes.extend(hex::decode(digits).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_given_by_its_address() {
        let plain = SmtpServer::parse("smtp://127.0.0.1:1025").unwrap();
        assert_eq!((plain.port, plain.tls.is_some(), plain.credentials.is_some()), (1025, false, false));
        let safe = SmtpServer::parse("smtps://user:p%40ss@mail.example.org").unwrap();
        assert_eq!((safe.port, safe.tls.is_some()), (465, true));
        assert_eq!(safe.credentials, Some(Credentials::new("user".to_owned(), "p@ss".to_owned())));
        assert_eq!(format!("{safe:?}"), "SmtpServer(mail.example.org:465)");
        assert_eq!(SmtpServer::parse("smtp://[::1]:25").unwrap().host, "::1");
    }

    #[test]
    fn an_address_that_makes_no_sense_or_is_unsafe_is_refused() {
        for url in
            ["", "mail.example.org", "https://mail.example.org", "smtp:///x", "smtp://host/x", "smtps://user@host"]
        {
            assert_eq!(SmtpServer::parse(url).unwrap_err(), SmtpUrlError::Malformed, "{url}");
        }
        assert_eq!(SmtpServer::parse("smtp://user:word@host").unwrap_err(), SmtpUrlError::CredentialsInClear);
    }
}
