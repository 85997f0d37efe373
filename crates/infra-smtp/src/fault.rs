//! What went wrong, in words that are fit for a log.

use std::{error::Error as _, io};

use domain::mailer::MailError;
use lettre::transport::smtp::Error;

/// Codes that turn down us and not the mail: encryption or a login is wanted, or the login is wrong (RFC 4954). The
/// mail can go once the operator has set that right.
const ABOUT_THE_SESSION: [u16; 4] = [530, 534, 535, 538];

/// Judges an error of the library. The server's own words are left out: they may repeat the address.
pub(crate) fn judge(error: &Error) -> MailError {
    if let Some(code) = error.status() {
        let text = format!("the server answered {code}");
        let is_final = error.is_permanent() && !ABOUT_THE_SESSION.contains(&u16::from(code));
        return if is_final { MailError::Permanent(text) } else { MailError::Transient(text) };
    }
    MailError::Transient(kind(error))
}

fn kind(error: &Error) -> String {
    if error.is_client() {
        return "the server offers no STARTTLS or no usable authentication".into();
    }
    if error.is_response() {
        return "the server's answer makes no sense or broke off".into();
    }
    match io_error(error) {
        // The TLS library's reason, such as an unknown issuer. It has seen nothing of the mail.
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
