//! Runs that are told: what failed, what passes again, what only warns, and what is nobody's business.

use super::{
    HEARTBEAT_TOKEN, SLACK_TOKEN, SMTP_PASSWORD, WEBHOOK_TOKEN, mail_server, slack_message,
    webhook_report, with_heartbeat, with_mail, with_slack, with_webhook,
};
use crate::gate::world::{PASSWORD, World, own, sample};
use crate::support::mail::{Certificates, MailServer, Speaks};
use crate::support::run::{Run, contains, forms};
use crate::support::web::{Heard, Web};
use serde_json::Value;
use std::fs;

/// The three web channels of one world.
pub(super) struct Ears {
    slack: Web,
    hook: Web,
    beat: Web,
}

impl Ears {
    pub(super) fn new() -> Ears {
        Ears {
            slack: Web::start(&[]),
            hook: Web::start(&[]),
            beat: Web::start(&[]),
        }
    }

    pub(super) fn on(&self, run: Run) -> Run {
        let run = with_slack(run, &self.slack.url(SLACK_TOKEN));
        let run = with_webhook(run, &self.hook.url(WEBHOOK_TOKEN));
        with_heartbeat(run, &self.beat.url(HEARTBEAT_TOKEN))
    }

    /// One message for people and one report, about `event`; returns the texts of both.
    pub(super) fn heard(&self, event: &str) -> (String, Value) {
        let (slack, hook) = (self.slack.take(), self.hook.take());
        assert_eq!((slack.len(), hook.len()), (1, 1), "{event}");
        assert_no_canary(slack.iter().chain(&hook));
        (slack_message(&slack[0]), webhook_report(&hook[0], event))
    }

    pub(super) fn heard_nothing(&self) {
        assert_eq!((self.slack.take().len(), self.hook.take().len()), (0, 0));
    }

    pub(super) fn beats(&self) -> usize {
        self.beat.take().len()
    }
}

fn assert_no_canary<'a>(heard: impl Iterator<Item = &'a Heard>) {
    let secrets = [
        PASSWORD,
        SMTP_PASSWORD,
        "slack-canary-token",
        "hmac-canary",
        "heartbeat-canary",
    ];
    let secrets: Vec<String> = secrets.map(str::to_owned).to_vec();
    for heard in heard {
        for canary in forms(&secrets) {
            assert!(
                !contains(heard.body.as_bytes(), canary.as_bytes()),
                "{canary}"
            );
        }
    }
}

#[test]
fn failures_and_the_recovery_are_told_and_successes_are_not() {
    let name = "notify-gate";
    let Some(cluster) = sample(name) else {
        return;
    };
    let Some((certificates, mail)) = mail_server(name, "wrapped", "accepts") else {
        return;
    };
    let Some(world) = World::both(name, cluster) else {
        return;
    };
    let ears = Ears::new();
    let told = |run: Run| {
        with_mail(ears.on(run), "smtps", mail.port, "")
            .env("SSL_CERT_FILE", certificates.file("ca.pem"))
            .args(&["--cluster", "nostromo-prod"])
    };
    world.passes(told(world.gate()));
    ears.heard_nothing();
    assert_eq!(ears.beats(), 1);

    let (gate, _fake) = world.gate_with("dies-after-half");
    let ended = world.closes(told(gate), 1, &["dump-exit"]);
    assert!(
        ended.stderr.contains("told: Slack (localhost): 200 ok"),
        "{}",
        ended.all()
    );
    assert!(
        ended
            .stderr
            .contains("told: e-mail (2 recipients by localhost): 250"),
        "{}",
        ended.all()
    );
    let (text, report) = ears.heard("failure");
    for says in [
        "❌ Backup gate of nostromo-prod failed — deploy blocked",
        "*dump-exit*  pg_dumpall was killed (signal 9",
        "Last good backup: ",
        "The last good backup is ",
        "/acme/payroll/actions/runs/4711/attempts/2",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert_eq!(&report, ended.report());
    assert_eq!(ears.beats(), 0, "a failed run is no sign of life");

    // Nothing at all comes out of pg_dumpall.
    let (gate, _fake) = world.gate_with("prints-nothing");
    world.closes(told(gate), 1, &["dump-complete"]);
    let (text, _) = ears.heard("failure");
    assert!(text.contains("dump-complete"), "{text}");

    let ended = world.passes(told(world.gate()));
    let (text, report) = ears.heard("recovery");
    for says in [
        "✅ Backup gate of nostromo-prod passes again — deploy may go on",
        "2 failed runs since ",
        "; the last: FAILED: ",
        "Archive: ",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert_eq!(report["verdict"], "passed");
    assert_eq!(ears.beats(), 1);
    assert_eq!(ended.code, 0);

    world.passes(told(world.gate()));
    ears.heard_nothing();

    let mails = mail.received();
    let subjects: Vec<String> = mails.iter().map(|mail| mail.header("Subject")).collect();
    assert_eq!(
        subjects,
        [
            "❌ Backup gate of nostromo-prod failed — deploy blocked",
            "❌ Backup gate of nostromo-prod failed — deploy blocked",
            "✅ Backup gate of nostromo-prod passes again — deploy may go on",
        ]
    );
    for mail in &mails {
        for canary in forms(&[PASSWORD.to_owned(), SMTP_PASSWORD.to_owned()]) {
            assert!(
                !contains(mail.raw.as_bytes(), canary.as_bytes()),
                "{canary}"
            );
        }
    }
    assert!(
        mails[0]
            .part("text/html")
            .contains("<b>dump-exit</b>: pg_dumpall was killed")
    );
    assert!(
        mails[0]
            .part("text/plain")
            .contains("What still protects you\n")
            || mails[0]
                .part("text/plain")
                .contains("What still protects you\r\n")
    );
}

#[test]
fn notify_on_decides_who_hears_what() {
    let name = "notify-on";
    let Some(cluster) = sample(name) else {
        return;
    };
    let world = World::local(cluster);
    let ears = Ears::new();
    let passes = |on: &str| {
        world.passes(ears.on(world.gate()).args(&["--notify-on", on]));
    };
    let fails = |on: &str| {
        let (gate, _fake) = world.gate_with("exits-1-at-start");
        world.closes(ears.on(gate).args(&["--notify-on", on]), 1, &["dump-exit"]);
    };
    // No drill has ever passed: that is a warning.
    passes("warning");
    let (text, _) = ears.heard("warning");
    assert!(text.contains("⚠️ Backup gate of 127.0.0.1:"), "{text}");
    assert!(
        text.contains("*drill-fresh*  no drill of this cluster has ever passed"),
        "{text}"
    );
    passes("always");
    ears.heard("warning");
    passes("failure");
    ears.heard_nothing();
    fails("never");
    ears.heard_nothing();
    fails("recovery");
    ears.heard_nothing();
    fails("warning");
    ears.heard("failure");
    // The three above were failures, whoever heard of them.
    passes("failure, recovery");
    let (text, _) = ears.heard("recovery");
    assert!(text.contains("3 failed runs since "), "{text}");
    passes("never");
    ears.heard_nothing();
    assert_eq!(ears.beats(), 5, "notify-on is not about the heartbeat");

    // Somebody looks.
    let dry = ears
        .on(world.gate())
        .args(&["--notify-on", "always", "--dry-run"]);
    world.passes(dry);
    let dry = ears
        .on(world.gate())
        .args(&["--dry-run", "--require-database", "sulaco"]);
    let missing = dry.args(&["--check", "drill-fresh=block"]);
    world.closes(missing, 1, &["drill-fresh"]);
    ears.heard_nothing();
    assert_eq!(ears.beats(), 0);
}

#[test]
fn a_server_that_is_down_is_told_with_what_still_protects() {
    let name = "notify-down";
    let Some(mut cluster) = own(name) else {
        return;
    };
    cluster.sample(1, 3);
    let store = tempfile::tempdir().unwrap();
    let url = cluster.url();
    let gate = |cluster: &crate::support::cluster::Cluster| {
        Run::new("gate")
            .arg("--local")
            .arg(store.path())
            .env("BACKUP_ACTION_PG_BIN_DIR", &cluster.bin_dir)
            .secret_env("BACKUP_ACTION_DATABASE_URL", &url, PASSWORD)
    };
    let ended = gate(&cluster).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    let key = ended.output("archive-key").to_owned();
    cluster.stop();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let ears = Ears::new();
    let ended = ears.on(gate(&cluster)).end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    let (text, report) = ears.heard("failure");
    assert!(text.contains("could not check — deploy blocked"), "{text}");
    assert!(text.contains("Connection refused"), "{text}");
    assert!(text.contains(&format!(": {key} of ")), "{text}");
    assert_eq!(report["verdict"], "error");
}

#[test]
fn hostile_names_are_text_everywhere() {
    let name = "notify-hostile";
    let Some(cluster) = own(name) else {
        return;
    };
    cluster.psql("create table staff (name text)");
    for hostile in [
        "<!channel> <@U1> & *x* `y`",
        "a\r\nBcc: everybody@acme.example",
        "<script>alert(1)</script>",
    ] {
        cluster.psql(&format!(
            "create database \"{hostile}\" allow_connections false"
        ));
    }
    let Some(certificates) = Certificates::make(name) else {
        return;
    };
    let speaks = Speaks {
        tls: "none",
        certificate: "here",
        login: None,
        behaviour: "accepts",
    };
    let Some(mail) = MailServer::start(name, speaks, &certificates) else {
        return;
    };
    let world = World::local(&cluster);
    let ears = Ears::new();
    let run = ears
        .on(world.gate())
        .env(
            "BACKUP_ACTION_SMTP_URL",
            format!("smtp://localhost:{}", mail.port),
        )
        .env("BACKUP_ACTION_EMAIL_TO", "ops@acme.example")
        .env("BACKUP_ACTION_EMAIL_FROM", "Backup <backup@acme.example>")
        .args(&[
            "--cluster",
            "x\r\nBcc: everybody@acme.example\r\n\r\n<!here>",
        ]);
    world.closes(run, 1, &["databases-connectable"]);
    // That nothing in it is a mention is checked with its form.
    let (text, _) = ears.heard("failure");
    assert!(
        text.contains("&lt;!channel&gt; &lt;@U1&gt; &amp;"),
        "{text}"
    );
    let mails = mail.received();
    assert_eq!(mails.len(), 1);
    let names = mails[0].header_names();
    assert!(
        !names.iter().any(|name| name.eq_ignore_ascii_case("bcc")),
        "{names:?}"
    );
    assert_eq!(mails[0].to, ["ops@acme.example"]);
    assert!(
        mails[0].header("Subject").contains("Bcc: everybody"),
        "it is shown"
    );
    let html = mails[0].part("text/html");
    assert!(
        html.contains("&lt;script&gt;alert(1)") && !html.contains("<script"),
        "{html}"
    );
}

#[test]
fn drills_are_told_without_the_answers_to_questions() {
    let name = "notify-drill";
    let Some(cluster) = sample(name) else {
        return;
    };
    let world = World::local(cluster);
    world.passes(world.gate());
    let ears = Ears::new();
    let drill = |question: &str, flags: &[&str]| {
        let run = ears.on(world.run("drill")).args(&["--engine", "local"]);
        let config = run.dir().join("config.toml");
        fs::write(&config, question).unwrap();
        let run = run.env("BACKUP_ACTION_PG_BIN_DIR", &cluster.bin_dir);
        run.arg("--config").arg(config).args(flags).end()
    };
    let question = |expected: &str| {
        format!(
            "[[drill.question]]\nname = \"tenants\"\ndatabase = \"nostromo\"\nsql = \"SELECT 'row of data'\"\n{expected}\n"
        )
    };
    let ended = drill(&question("equals = \"another\""), &[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.screen().contains("row of data"), "{}", ended.all());
    let heard = ears.hook.heard();
    // Neither the answer nor the question, which may hold it as well.
    assert!(heard.iter().all(|h| !h.body.contains("row of data")));
    let (text, _) = ears.heard("failure");
    assert!(text.contains("❌ Restore drill of "), "{text}");
    assert!(
        text.contains("*questions*  not as expected: tenants"),
        "{text}"
    );
    assert!(!text.contains("row of data"), "{text}");
    assert_eq!(ears.beats(), 0);

    // Without rows it is no drill: it ends no trouble, and is no sign of life.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let ended = drill("", &["--schema-only"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    ears.heard_nothing();
    assert_eq!(ears.beats(), 0);

    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let ended = drill(&question("equals = \"row of data\""), &[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    // What was expected is the answer.
    let heard = ears.hook.heard();
    assert!(heard.iter().all(|h| !h.body.contains("row of data")));
    let (text, _) = ears.heard("recovery");
    assert!(text.contains("✅ Restore drill of "), "{text}");
    assert!(text.contains("1 failed run since "), "{text}");
    assert_eq!(ears.beats(), 1);
}

#[test]
fn a_restore_and_a_verification_that_fail_are_told() {
    let name = "notify-verify";
    let Some(cluster) = sample(name) else {
        return;
    };
    let world = World::local(cluster);
    let ended = world.passes(world.gate());
    let archive = world
        .local
        .as_ref()
        .unwrap()
        .join(ended.output("archive-key"));
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&archive, bytes).unwrap();
    let ears = Ears::new();
    let ended = ears.on(world.run("verify")).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    let (text, _) = ears.heard("failure");
    assert!(
        text.contains("failed — the stored backup is damaged"),
        "{text}"
    );
    let restore = ears.on(world.run("restore")).arg("2020-01-01T00:00:00Z");
    let ended = restore.args(&["--schema", "central", "--yes"]).end();
    assert_ne!(ended.code, 0, "{}", ended.all());
    let (text, _) = ears.heard("failure");
    assert!(text.contains("Restore"), "{text}");
    let ended = ears.on(world.run("verify-receipt")).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    let (text, _) = ears.heard("failure");
    assert!(
        text.contains("❌ Receipt check of ") && text.contains("deploy blocked"),
        "{text}"
    );
    assert_eq!(ears.beats(), 0);
}
