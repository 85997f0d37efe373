//! Settings that production refuses.

use infra_smtp::Tls;

use super::{
    Config,
    vars::{Vars, elements},
};

const EXCEPTIONS: &str = "ALLOW_IN_PRODUCTION";
const ANY_ORIGIN: &str = "any_origin";
const CLEAR_TEXT_LOGIN: &str = "clear_text_smtp_login";

impl Vars {
    /// Records an error for each setting that is unsafe in production, unless it has a legitimate use and
    /// `ALLOW_IN_PRODUCTION` lists it.
    pub(super) fn check_production(&mut self, config: &Config) {
        let requirement = "must be a comma-separated list of any_origin and clear_text_smtp_login";
        let exceptions = self.parse(EXCEPTIONS, requirement, |text| {
            let is_known = |exception: &str| [ANY_ORIGIN, CLEAR_TEXT_LOGIN].contains(&exception);
            elements(text).map(|element| is_known(element).then(|| element.to_owned())).collect()
        });
        let exceptions: Vec<String> = exceptions.unwrap_or_default();
        let is_refused = |exception: &str| exceptions.iter().all(|allowed| allowed != exception);

        let login = config.smtp.as_ref().filter(|smtp| smtp.login.is_some());
        if login.is_some_and(|smtp| smtp.tls == Tls::Plain) && is_refused(CLEAR_TEXT_LOGIN) {
            let text = "must be starttls or implicit in production if SMTP_USER is set, since the password would be sent \
                        in clear text; for a relay on this machine, set ALLOW_IN_PRODUCTION=clear_text_smtp_login";
            self.push_error("SMTP_TLS", text);
        }
        if config.cors_origins.allow_any() && is_refused(ANY_ORIGIN) {
            let text = "must not be * in production: list your origins; for an API that every website may call, set \
                        ALLOW_IN_PRODUCTION=any_origin";
            self.push_error("CORS_ORIGINS", text);
        }
        if !self.is_set("FRONTEND_URL") {
            self.push_error("FRONTEND_URL", "must be set in production, since links in mails lead there");
        }
        if !self.is_set("PUBLIC_URL") {
            let text =
                "must be set in production to the address of this server, with which URLs of media begin";
            self.push_error("PUBLIC_URL", text);
        }
    }
}
