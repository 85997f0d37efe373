//! Maps lettre's errors to [`MailError`], with texts that are safe to log.

use std::{error::Error as _, io};

use domain::mailer::MailError;
use lettre::transport::smtp::Error;

/// Reply codes that reject the session, not the mail: encryption or authentication is required, or the credentials
/// are wrong (RFC 4954). The mail can be sent once the operator has fixed the settings.
const SESSION_REJECTED: [u16; 4] = [530, 534, 535, 538];

/// Classifies an error as permanent or transient. Leaves out the text of the response, which may contain the
/// recipient's address.
pub(crate) fn mail_error(error: &Error) -> MailError {
    if let Some(code) = error.status() {
        let text = format!("the server responded with {code}");
        let is_final = error.is_permanent() && !SESSION_REJECTED.contains(&u16::from(code));
        return if is_final { MailError::Permanent(text) } else { MailError::Transient(text) };
    }
    MailError::Transient(description(error))
}

fn description(error: &Error) -> String {
    if error.is_client() {
        return "the server lacks STARTTLS or a supported authentication mechanism".into();
    }
    if error.is_response() {
        return "the response of the server is invalid or incomplete".into();
    }
    match io_error(error) {
        // A reason given by the TLS library, such as an unknown issuer. It contains nothing of the mail.
        Some(cause) if cause.kind() == io::ErrorKind::InvalidData => format!("connection failed: {cause}"),
        Some(cause) => format!("connection failed: {}", cause.kind()),
        None => "connection failed".into(),
    }
}

fn io_error(error: &Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        source = cause.source();
    }
    None
}
