//! Mail: what arrives, how it gets there, and where it does not go.

use super::{SMTP_PASSWORD, channel, test, with_mail};
use crate::support::mail::{Certificates, MailServer, Speaks};
use crate::support::run::Ended;
use serde_json::Value;

const LOGIN: (&str, &str) = ("backup@acme.example", SMTP_PASSWORD);

const STARTTLS: Speaks<'_> = Speaks {
    tls: "starttls",
    certificate: "here",
    login: Some(LOGIN),
    behaviour: "accepts",
};

/// Sends a sample; returns the end of the run, the result, and the server.
fn send(
    speaks: Speaks<'_>,
    scheme: &str,
    rest: &str,
    authority: &str,
) -> Option<(Ended, Value, MailServer)> {
    let name = "notify::mail";
    let certificates = Certificates::make(name)?;
    let server = MailServer::start(name, speaks, &certificates)?;
    let ended = with_mail(test(), scheme, server.port, rest)
        .args(&["--output", "json"])
        .env("SSL_CERT_FILE", certificates.file(authority))
        .end();
    let result = channel(&ended, "e-mail");
    Some((ended, result, server))
}

#[test]
fn a_mail_arrives_whole_by_each_way() {
    let wrapped = Speaks {
        tls: "wrapped",
        ..STARTTLS
    };
    let plain = Speaks {
        tls: "none",
        ..STARTTLS
    };
    for (speaks, scheme, rest, is_encrypted) in [
        (STARTTLS, "smtp", "?tls=required", true),
        (wrapped, "smtps", "", true),
        // Only because it is this machine.
        (plain, "smtp", "", false),
    ] {
        let Some((ended, result, server)) = send(speaks, scheme, rest, "ca.pem") else {
            return;
        };
        assert_eq!(ended.code, 0, "{}", ended.all());
        assert_eq!(result["attempts"], 1);
        let mails = server.received();
        assert_eq!(mails.len(), 1, "{}", ended.all());
        let mail = &mails[0];
        match is_encrypted {
            true => assert_eq!(mail.tls.as_deref(), Some("TLSv1.3")),
            false => assert_eq!(mail.tls, None),
        }
        assert_eq!(mail.user.as_deref(), Some(LOGIN.0));
        assert_eq!(mail.to, ["ops@acme.example", "lead@acme.example"]);
        assert_eq!(mail.header("From"), "backup@acme.example");
        assert_eq!(
            mail.header("To"),
            "ops@acme.example, Lead <lead@acme.example>"
        );
        assert_eq!(
            mail.header("Subject"),
            "🔔 TEST: alerts of backup-action arrive here"
        );
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        let id = mail.header("Message-ID");
        assert!(
            id.starts_with('<') && id.ends_with("@acme.example>"),
            "{id}"
        );
        let mut names = mail.header_names();
        names.sort();
        names.retain(|name| !name.starts_with("X-"));
        assert_eq!(
            names,
            [
                "Auto-Submitted",
                "Content-Type",
                "Date",
                "From",
                "MIME-Version",
                "Message-ID",
                "Subject",
                "To"
            ]
        );
        assert!(
            mail.header("Content-Type")
                .starts_with("multipart/alternative")
        );
        let text = mail.part("text/plain");
        let html = mail.part("text/html");
        for part in [&text, &html] {
            assert!(
                part.contains("TEST: what was seen would stand here"),
                "{part}"
            );
            assert!(part.contains("/acme/payroll/actions/runs/4711"), "{part}");
        }
        assert!(html.starts_with("<!doctype html>"), "{html}");
        // Plain text comes first: readers show the last part that they know.
        assert!(mail.raw.find("text/plain") < mail.raw.find("text/html"));
    }
}

#[test]
fn neither_mail_nor_password_goes_to_a_server_that_is_not_trusted() {
    let elsewhere = Speaks {
        certificate: "elsewhere",
        ..STARTTLS
    };
    let wrapped = Speaks {
        tls: "wrapped",
        ..STARTTLS
    };
    let none = Speaks {
        tls: "none",
        ..STARTTLS
    };
    for (speaks, scheme, rest, authority, says) in [
        (
            STARTTLS,
            "smtp",
            "?tls=required",
            "other-ca.pem",
            "no trusted connection",
        ),
        (
            elsewhere,
            "smtp",
            "?tls=required",
            "ca.pem",
            "no trusted connection",
        ),
        (
            wrapped,
            "smtps",
            "",
            "other-ca.pem",
            "no trusted connection",
        ),
        (
            none,
            "smtp",
            "?tls=required",
            "ca.pem",
            "STARTTLS is not supported",
        ),
    ] {
        let Some((ended, result, server)) = send(speaks, scheme, rest, authority) else {
            return;
        };
        assert_eq!(ended.code, 1, "{}", ended.all());
        assert!(
            result["answer"].as_str().unwrap().contains(says),
            "{result}"
        );
        // No second attempt, and none without TLS.
        assert_eq!(result["attempts"], 1, "{result}");
        assert!(server.received().is_empty());
    }
}

#[test]
fn what_the_server_refuses_is_said_without_the_secret() {
    let refuses = Speaks {
        behaviour: "refuses",
        ..STARTTLS
    };
    let wrong = Speaks {
        login: Some((LOGIN.0, "another")),
        ..STARTTLS
    };
    for (speaks, says) in [
        (
            refuses,
            "accepted for 0 of 2; recipient 1 of 2: answered 550 5.1.1 no such user here: ***, <***>; recipient 2 of 2: answered 550",
        ),
        (wrong, "answered 535 5.7.8 authentication failed"),
    ] {
        let Some((ended, result, server)) = send(speaks, "smtp", "?tls=required", "ca.pem") else {
            return;
        };
        assert_eq!(ended.code, 1, "{}", ended.all());
        let answer = result["answer"].as_str().unwrap();
        assert!(answer.starts_with(says), "{result}");
        // The masks are for the runner, which shows none of them.
        let all = ended.all();
        let mut shown = all.lines().filter(|line| !line.contains("::add-mask::"));
        assert!(!shown.any(|line| line.contains("@acme.example")), "{all}");
        assert!(server.received().is_empty());
    }
}

#[test]
fn one_wrong_address_does_not_keep_the_others_from_knowing() {
    let name = "notify::mail";
    let Some(certificates) = Certificates::make(name) else {
        return;
    };
    let speaks = Speaks {
        behaviour: "refuses-one",
        ..STARTTLS
    };
    let Some(server) = MailServer::start(name, speaks, &certificates) else {
        return;
    };
    let ended = with_mail(test(), "smtp", server.port, "?tls=required")
        .env(
            "BACKUP_ACTION_EMAIL_TO",
            "ops@acme.example, nobody@acme.example, lead@acme.example",
        )
        .args(&["--output", "json"])
        .env("SSL_CERT_FILE", certificates.file("ca.pem"))
        .end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    let result = channel(&ended, "e-mail");
    let answer = result["answer"].as_str().unwrap();
    assert!(
        answer.starts_with("accepted for 2 of 3; recipient 2 of 3: answered 550"),
        "{answer}"
    );
    let to: Vec<_> = server
        .received()
        .iter()
        .flat_map(|mail| mail.to.clone())
        .collect();
    assert_eq!(to, ["ops@acme.example", "lead@acme.example"]);
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let busy = Speaks {
        behaviour: "busy-once",
        ..STARTTLS
    };
    let Some((ended, result, server)) = send(busy, "smtp", "?tls=required", "ca.pem") else {
        return;
    };
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(result["attempts"], 2, "{result}");
    assert_eq!(server.received().len(), 1);
}
