use application::{media::Limits, rate_limit::RateLimitClass};
use infra_diesel::DatabaseUrl;
use infra_smtp::{Login, Tls};

use super::*;

const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

const PRODUCTION: [(&str, &str); 5] = [
    ("APP_ENV", "production"),
    ("SECRET_KEY", KEY),
    ("SMTP_HOST", "mail"),
    ("FRONTEND_URL", "https://app.example.com"),
    ("PUBLIC_URL", "https://api.example.com"),
];

/// Names of the settings that are refused in production.
fn in_production(vars: &[(&str, &str)]) -> Vec<String> {
    invalid_names(&[&PRODUCTION, vars].concat())
}

fn read(vars: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::from_vars(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn invalid_names(vars: &[(&str, &str)]) -> Vec<String> {
    let errors = read(vars).err().map(|errors| errors.0).unwrap_or_default();
    errors.iter().filter_map(|error| error.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn every_setting_has_a_default() {
    let config = read(&[("PORT", ""), ("SMTP_HOST", " ")]).unwrap();
    assert_eq!(config.environment, Environment::Development);
    assert!(config.database.url == DatabaseUrl::Sqlite("data/social.sqlite3".into()));
    assert_eq!((config.host.to_string().as_str(), config.port, config.smtp), ("127.0.0.1", 8000, None));
    assert!(
        ["http://localhost:5173", "http://localhost:3000"].map(|one| config.cors_origins.allow(one))[..]
            == [true; 2]
    );
    assert_eq!((config.max_image_bytes, config.max_video_bytes), (10 << 20, 50 << 20));
    assert_eq!(config.max_pixels, Limits::default().pixels);
}

#[test]
fn every_invalid_setting_is_reported_by_name() {
    assert_eq!(
        invalid_names(&[
            ("DATABASE_URL", "mysql://x"),
            ("PORT", "70000"),
            ("ACCESS_TOKEN_EXPIRE_MINUTES", "0"),
            ("FRONTEND_URL", "localhost"),
            ("CORS_ORIGINS", "http://a.example/path"),
            ("RUST_LOG", "info,api=loud"),
            ("HIDE_REGISTERED_EMAILS", "maybe"),
            ("CLOUD_NAME", "cloud"),
        ]),
        [
            "DATABASE_URL",
            "ACCESS_TOKEN_EXPIRE_MINUTES",
            "CLOUDINARY_API_KEY",
            "CLOUDINARY_API_SECRET",
            "FRONTEND_URL",
            "CORS_ORIGINS",
            "PORT",
            "RUST_LOG",
            "HIDE_REGISTERED_EMAILS"
        ]
    );
}

#[test]
fn production_requires_settings_that_are_unsafe_to_omit() {
    assert_eq!(
        invalid_names(&[("APP_ENV", "production"), ("DEBUG", "true")]),
        ["SECRET_KEY", "SMTP_HOST", "DEBUG", "FRONTEND_URL", "PUBLIC_URL"]
    );
    assert_eq!(read(&PRODUCTION).unwrap().host.to_string(), "0.0.0.0");
    for bad in ["short", "your-secret-key-change-this-in-production", &"a".repeat(64)] {
        assert!(in_production(&[("SECRET_KEY", bad)]).contains(&"SECRET_KEY".to_owned()), "{bad}");
    }
    assert_eq!(invalid_names(&[("SECRET_KEY", "short")]), ["SECRET_KEY"]);
}

#[test]
fn production_refuses_unsafe_settings_that_are_not_allowed_explicitly() {
    let login = [("SMTP_PORT", "2525"), ("SMTP_USER", "ann"), ("SMTP_PASSWORD", "secret")];
    let origins = [("CORS_ORIGINS", "https://app.example.com,*")];
    assert_eq!(in_production(&[&login[..], &origins].concat()), ["SMTP_TLS", "CORS_ORIGINS"]);
    let any_origin = ("ALLOW_IN_PRODUCTION", "any_origin");
    assert_eq!(in_production(&[&login[..], &origins, &[any_origin]].concat()), ["SMTP_TLS"]);
    let both = ("ALLOW_IN_PRODUCTION", "clear_text_smtp_login, any_origin");
    assert_eq!(in_production(&[&login[..], &origins, &[both]].concat()), [""; 0]);
    assert_eq!(in_production(&[&login[..], &[("SMTP_TLS", "starttls")]].concat()), [""; 0]);
    // Without a login there is no password to protect.
    assert_eq!(in_production(&[("SMTP_TLS", "none")]), [""; 0]);
    assert_eq!(in_production(&[("ALLOW_IN_PRODUCTION", "everything")]), ["ALLOW_IN_PRODUCTION"]);
    assert_eq!(invalid_names(&[&login[..], &origins, &[("SMTP_HOST", "mail")]].concat()), [""; 0]);
}

#[test]
fn aliases_are_read_if_the_name_is_unset() {
    let config = read(&[
        ("SMTP_HOST", "mail.example"),
        ("SMTP_USERNAME", "old@example.com"),
        ("SMTP_PASSWORD", "secret"),
        ("EMAIL_FROM", "from@example.com"),
        ("CLOUD_NAME", "old"),
        ("CLOUDINARY_CLOUD_NAME", "new"),
        ("API_KEY", "key"),
        ("API_SECRET", "hidden"),
    ])
    .unwrap();
    let smtp = config.smtp.unwrap();
    assert_eq!((smtp.sender_email.as_str(), smtp.port, smtp.tls), ("from@example.com", 587, Tls::StartTls));
    assert_eq!(smtp.login, Some(Login { user: "old@example.com".into(), password: "secret".into() }));
    assert_eq!(config.cloudinary.unwrap().cloud_name, "new");
}

#[test]
fn port_determines_mail_encryption_by_default() {
    for (port, tls, expected) in [
        ("465", "", Tls::Implicit),
        ("587", "", Tls::StartTls),
        ("1025", "", Tls::Plain),
        ("2525", "starttls", Tls::StartTls),
    ] {
        let config = read(&[("SMTP_HOST", "mail"), ("SMTP_PORT", port), ("SMTP_TLS", tls)]).unwrap();
        let smtp = config.smtp.unwrap();
        assert_eq!(smtp.tls, expected, "{port} {tls}");
    }
}

#[test]
fn rate_limits_are_parsed_scaled_and_disabled() {
    let limit =
        |settings: &[(&str, &str)], class: RateLimitClass| read(settings).unwrap().rate_limits.get(class);
    assert_eq!(limit(&[], RateLimitClass::Auth), Some(RateLimitClass::Auth.default_limit()));
    let set = [("RATE_LIMIT_AUTH", "20/60s"), ("RATE_LIMIT_MAIL", "0"), ("RATE_LIMIT_SCALE", "0.5")];
    assert_eq!(limit(&set, RateLimitClass::Auth).map(|limit| limit.quota), Some(10));
    assert_eq!(limit(&set, RateLimitClass::Mail), None);
    assert_eq!(limit(&[("RATE_LIMIT_SCALE", "0")], RateLimitClass::Default), None);
    for class in RateLimitClass::ALL {
        let name = format!("RATE_LIMIT_{}", class.name().to_uppercase());
        assert_eq!(invalid_names(&[(&name, "many")]), [name.as_str()]);
    }
    for bad in ["-1", "NaN", "inf", "x"] {
        assert_eq!(invalid_names(&[("RATE_LIMIT_SCALE", bad)]), ["RATE_LIMIT_SCALE"], "{bad}");
    }
    assert_eq!(invalid_names(&[("TRUSTED_PROXIES", "10.0.0.0/8, nginx")]), ["TRUSTED_PROXIES"]);
    assert_eq!(invalid_names(&[("METRICS_ADDRESS", "9090")]), ["METRICS_ADDRESS"]);
}
