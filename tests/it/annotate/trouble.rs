//! GitHub in trouble: what may be tried again is, the rest is a warning and never an exit code.

use super::world::{Pull, commands, stored, succeeds};
use crate::support::github::{Fault, TOKEN};
use std::time::Duration;

fn answer(status: u16, message: &'static str) -> Fault {
    Fault::Answer(status, Vec::new(), message)
}

#[test]
fn reads_and_updates_are_tried_again() {
    let Some(world) = stored("annotate::again") else {
        return;
    };
    let pull = Pull::open();
    let limited = Fault::Answer(429, vec![("Retry-After", "1".to_owned())], "slow down");
    pull.github
        .inject("GET", "/comments", answer(502, "Server Error"), 1);
    pull.github.inject("GET", "/comments", limited, 1);
    pull.github
        .inject("GET", "/files", answer(503, "Unavailable"), 2);
    pull.github.inject("POST", "/graphql", Fault::Garbage, 1);
    let ended = succeeds(pull.run(world));
    assert!(
        ended.screen().contains("comment created"),
        "{}",
        ended.all()
    );
    assert!(ended.seconds > 1.0, "the limit was waited for");
    assert_eq!(pull.github.count("GET", "/files"), 3);
    pull.github
        .inject("PATCH", "/comments/", answer(502, "Server Error"), 2);
    // The ages in it are others by now, or it is as it was.
    std::thread::sleep(Duration::from_millis(1100));
    let ended = succeeds(pull.run(world));
    assert_eq!(commands(&ended, "warning"), Vec::<&str>::new());
    assert_eq!(pull.github.comments().len(), 1);
    assert_eq!(pull.github.count("PATCH", ""), 3, "{}", ended.all());
    pull.github.assert_content();
}

#[test]
fn refusals_are_a_warning_with_what_to_do() {
    let Some(world) = stored("annotate::refused") else {
        return;
    };
    let far = "4102444800".to_owned();
    let spent = vec![
        ("X-RateLimit-Remaining", "0".to_owned()),
        ("X-RateLimit-Reset", far),
    ];
    let cases: Vec<(&str, &str, Fault, &str, &str)> = vec![
        (
            "GET",
            "/issues",
            answer(404, "Not Found"),
            "warning",
            "GITHUB_API_URL",
        ),
        (
            "POST",
            "/issues",
            answer(422, "Validation Failed"),
            "warning",
            "Validation Failed",
        ),
        (
            "GET",
            "/issues",
            Fault::Answer(403, spent, "limit"),
            "warning",
            "rate limit allows it",
        ),
        (
            "GET",
            "/issues",
            answer(500, "x"),
            "warning",
            "when GitHub's API answers",
        ),
        (
            "GET",
            "/issues",
            Fault::Garbage,
            "warning",
            "when GitHub's API answers",
        ),
        (
            "POST",
            "/issues",
            answer(403, "Resource not accessible by integration"),
            "notice",
            "pull-requests: write",
        ),
    ];
    for (method, part, fault, level, says) in cases {
        let method = if method == "GET" { "GET" } else { "POST" };
        let shown = format!("{fault:?}");
        let pull = Pull::open();
        pull.github.inject(
            method,
            if part == "/issues" { "/issues" } else { "/" },
            fault,
            9,
        );
        let ended = succeeds(pull.run(world));
        let said = commands(&ended, level);
        assert!(
            said.iter()
                .any(|line| line.contains("no comment on the pull request") && line.contains(says)),
            "{shown}: {}",
            ended.all()
        );
        assert!(ended.seconds < 8.0, "{shown}: {} s", ended.seconds);
        assert!(ended.summary.contains("Backup size"), "{shown}");
        assert!(pull.github.comments().is_empty(), "{shown}");
    }
}

#[test]
fn a_github_that_does_not_say_who_we_are_still_gets_one_comment() {
    let Some(world) = stored("annotate::viewer") else {
        return;
    };
    let pull = Pull::open();
    let forbidden = answer(403, "Resource not accessible by integration");
    pull.github.inject("POST", "/graphql", forbidden, 2);
    succeeds(pull.run(world));
    succeeds(pull.run(world));
    assert_eq!(pull.github.comments().len(), 1);
    assert_eq!(pull.github.count("POST", "/issues/7/comments"), 1);
    // A limit is no answer: whose comments are ours is not guessed.
    pull.github
        .inject("POST", "/graphql", answer(429, "slow down"), 1);
    let ended = succeeds(pull.run(world));
    let said = commands(&ended, "warning");
    assert!(
        said[0].contains("whom the token belongs to"),
        "{}",
        ended.all()
    );
}

#[test]
fn sql_files_that_github_does_not_give_are_a_note() {
    let Some(world) = stored("annotate::unread") else {
        return;
    };
    let pull = Pull::open();
    for file in ["a.sql", "b.sql", "c.sql"] {
        pull.github
            .add_file(file, "added", Some("TRUNCATE central.tenants"));
    }
    pull.github
        .inject("GET", "/contents/b.sql", answer(500, "x"), 3);
    let ended = succeeds(pull.run(world));
    let body = &pull.github.comments()[0].body;
    assert!(body.contains("- `a.sql` line 1 empties "), "{body}");
    assert!(body.contains("2 changed SQL files not looked at"), "{body}");
    assert_eq!(
        pull.github.count("GET", "/contents/c.sql"),
        0,
        "{}",
        ended.all()
    );
    pull.github
        .inject("GET", "/files", answer(404, "Not Found"), 1);
    succeeds(pull.run(world));
    let body = &pull.github.comments()[0].body;
    assert!(body.contains("its SQL files were not looked at"), "{body}");
}

#[test]
fn a_wrong_token_and_a_github_that_is_down_are_warnings() {
    let Some(world) = stored("annotate::down") else {
        return;
    };
    let pull = Pull::open();
    let ended = succeeds(pull.run(world).env("GITHUB_TOKEN", "ghs_wrong"));
    let said = commands(&ended, "warning");
    assert_eq!(said.len(), 1, "{}", ended.all());
    assert!(
        said[0].contains("Bad credentials") && said[0].contains("github.token"),
        "{said:?}"
    );

    let gone = Pull::open();
    let run = gone.run(world);
    drop(gone.github);
    let ended = succeeds(run);
    let said = commands(&ended, "warning");
    assert_eq!(said.len(), 1, "{}", ended.all());
    assert!(
        said[0].contains("no comment on the pull request"),
        "{said:?}"
    );
    assert!(ended.summary.contains("Backup size"));

    for bad in ["ftp://x", "http://", "not an address"] {
        let ended = succeeds(pull.run(world).env("GITHUB_API_URL", bad));
        assert_eq!(
            commands(&ended, "warning").len(),
            1,
            "{bad}: {}",
            ended.all()
        );
    }
}

#[test]
fn a_silent_github_is_not_waited_for_for_ever() {
    let Some(world) = stored("annotate::silent") else {
        return;
    };
    let pull = Pull::open();
    let silence = Fault::Stall(Duration::from_secs(60));
    pull.github.inject("GET", "/issues", silence, 1);
    let ended = succeeds(pull.run(world));
    assert!(
        ended.screen().contains("comment created"),
        "{}",
        ended.all()
    );
    assert!(
        ended.seconds > 9.0 && ended.seconds < 20.0,
        "{} s",
        ended.seconds
    );
}

#[test]
fn a_github_that_repeats_the_token_is_not_quoted_with_it() {
    let Some(world) = stored("annotate::echo") else {
        return;
    };
    let echo: &'static str = Box::leak(
        format!(
            "{} bad header Authorization: Bearer {TOKEN}",
            "x".repeat(250)
        )
        .into_boxed_str(),
    );
    for (method, part, status) in [("GET", "/files", 422), ("POST", "/comments", 401)] {
        let pull = Pull::open();
        pull.github.inject(method, part, answer(status, echo), 1);
        let ended = succeeds(pull.run(world).secret_env("GITHUB_TOKEN", TOKEN, TOKEN));
        assert!(ended.all().contains("bad header"), "{}", ended.all());
        // A part of it is as bad. The runner itself is told what to hide.
        let screen = ended.all();
        let shown = screen
            .lines()
            .filter(|line| !line.starts_with("::add-mask::"));
        let shown = [shown.collect::<String>(), ended.summary.clone()];
        let posted: Vec<String> = pull.github.comments().into_iter().map(|c| c.body).collect();
        for text in shown.iter().chain(&posted) {
            assert!(!text.contains(&TOKEN[..10]), "{text}");
        }
    }
    // It goes nowhere without TLS, but to this machine.
    let pull = Pull::open();
    let ended = succeeds(pull.run(world).env("GITHUB_API_URL", "http://192.0.2.1/"));
    let said = commands(&ended, "warning");
    assert!(said[0].contains("https://"), "{said:?}");
}
