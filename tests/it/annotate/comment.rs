//! The one comment: what it says, that it stays one, and that only ours is touched.

use super::world::{HOSTILE, MARKER, Pull, commands, stored, succeeds};
use crate::support::github::{BOT, Comment, Fault};

/// Our comments: by the marker and the author.
fn ours(pull: &Pull) -> Vec<Comment> {
    let comments = pull.github.comments();
    let ours = |comment: &Comment| comment.author == BOT && comment.body.starts_with(MARKER);
    comments.into_iter().filter(ours).collect()
}

#[test]
fn one_comment_says_what_grew_and_is_updated() {
    let Some(world) = stored("annotate::one_comment") else {
        return;
    };
    let pull = Pull::open();
    // Anybody can write the marker.
    let planted = format!("{MARKER}\nplanted");
    let eve = pull.github.add_comment("eve", &planted);
    let ended = succeeds(pull.run(world));
    let posted = ours(&pull);
    assert_eq!(posted.len(), 1, "{}", ended.all());
    let body = &posted[0].body;
    let text = body.strip_prefix(&format!("{MARKER}\n")).unwrap_or(body);
    assert_eq!(ended.summary, text, "the summary says the same");
    for words in [
        "### Backup size: ",
        " since `main`'s last backup\n",
        "| archive | ",
        "| `nostromo` | ",
        "**What moved most**",
        "| `tenant_empresa_2` in `nostromo` | 20,120 |",
        " ▲ |\n",
        "Sizes of the dump, last 2: ",
        "Last gate ✅ ",
        "last drill ✅ ",
        " (restore ",
        "(of this pull request's head, ",
    ] {
        assert!(body.contains(words), "{words:?} is not in\n{body}");
    }
    // The tenant that grew comes first, by its own growth and nobody else's.
    let moved = body.split("**What moved most**").nth(1).unwrap_or_default();
    let first = moved
        .lines()
        .find(|line| line.starts_with("| `") || line.starts_with("| <code>"));
    assert!(
        first.is_some_and(|line| line.contains("tenant_empresa_2")),
        "{moved}"
    );
    assert!(!moved.contains("tenant_empresa_1"), "unchanged: {moved}");
    assert!(
        ended.screen().contains("comment created: http"),
        "{}",
        ended.all()
    );
    assert_eq!(commands(&ended, "warning"), Vec::<&str>::new());
    // A receipt may say that its run is anywhere; only runs of this repository are linked.
    let run = "](https://github.com/acme/payroll/actions/runs/4711/attempts/2)";
    assert_eq!(body.matches(run).count(), 2, "{body}");
    let elsewhere = pull
        .run(world)
        .env("GITHUB_SERVER_URL", "https://ghes.example");
    let ended = succeeds(elsewhere.arg("--dry-run"));
    assert!(!ended.screen().contains("]("), "{}", ended.all());

    let ended = succeeds(pull.run(world));
    assert!(
        ended.screen().contains("comment updated: http")
            || ended.screen().contains("comment unchanged: http"),
        "{}",
        ended.all()
    );
    assert_eq!(ours(&pull).len(), 1);
    assert_eq!(ours(&pull)[0].id, posted[0].id);
    assert_eq!(pull.github.count("POST", "/comments"), 1);
    let comments = pull.github.comments();
    let kept = comments.iter().find(|comment| comment.id == eve);
    assert_eq!(kept.map(|c| c.body.as_str()), Some(planted.as_str()));
    pull.github.assert_content();
}

#[test]
fn names_from_the_database_are_inert() {
    let Some(world) = stored("annotate::inert") else {
        return;
    };
    let pull = Pull::open();
    let hostile = "db/::error::forged </details> @acme/all.sql";
    pull.add_checked_out(hostile, &format!("DROP TABLE \"{HOSTILE}\".payroll;\n"));
    let ended = succeeds(pull.run(world));
    let body = &ours(&pull)[0].body;
    assert!(body.contains("acme/all"), "it is shown: {body}");
    for place in [body, &ended.summary] {
        // Outside of code nothing of it acts, and in code nothing ends it.
        let mut outside = String::new();
        for (at, part) in place.split('`').enumerate() {
            if at % 2 == 0 {
                outside.push_str(part);
            }
        }
        for harm in ["</details", "<img", "@acme", "::error"] {
            assert!(!outside.contains(harm), "{harm} in\n{outside}");
        }
    }
    for line in ended.stderr.lines() {
        assert!(!line.trim_start().starts_with("::error"), "{line}");
        assert!(!line.contains(" ::error"), "{line}");
    }
    pull.github.assert_content();
}

#[test]
fn it_is_found_behind_many_others() {
    let Some(world) = stored("annotate::pages") else {
        return;
    };
    let pull = Pull::open();
    for n in 0..250 {
        pull.github.add_comment("eve", &format!("{n}"));
    }
    let own = pull.github.add_comment(BOT, &format!("{MARKER}\nold"));
    pull.github.add_comment(BOT, "another job's");
    pull.github
        .add_comment(BOT, "<!-- backup-action:annotate:other -->\nanother key's");
    succeeds(pull.run(world));
    let posted = ours(&pull);
    assert_eq!(posted.len(), 1);
    assert_eq!(posted[0].id, own);
    assert!(posted[0].body.contains("Backup size"));
    assert_eq!(pull.github.comments().len(), 253);
    assert_eq!(pull.github.count("GET", "/comments"), 3);

    // Another key is another comment.
    succeeds(pull.run(world).args(&["--comment-key", "payroll.eu"]));
    let comments = pull.github.comments();
    assert_eq!(comments.len(), 254);
    let last = comments.last().map(|comment| comment.body.as_str());
    assert!(last.is_some_and(|b| b.starts_with("<!-- backup-action:annotate:payroll.eu -->\n")));
    pull.github.assert_content();
}

#[test]
fn two_runs_at_once_leave_one_comment() {
    let Some(world) = stored("annotate::two") else {
        return;
    };
    for _ in 0..3 {
        let pull = Pull::open();
        pull.github.answer_lists_together(2);
        let runs = [pull.run(world).start(), pull.run(world).start()];
        for run in runs {
            let ended = run.end();
            assert_eq!(ended.code, 0, "{}", ended.all());
            assert!(
                ended.screen().contains("comment created"),
                "{}",
                ended.all()
            );
        }
        // Both found none, so both created one: that is the race.
        assert_eq!(pull.github.count("POST", "/issues/7/comments"), 2);
        let left = ours(&pull);
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].id, 1, "the first one stays");
        assert!(left[0].body.contains("Backup size"));
        pull.github.assert_content();
    }
}

#[test]
fn two_comments_of_ours_become_one() {
    let Some(world) = stored("annotate::merge") else {
        return;
    };
    let pull = Pull::open();
    let first = pull.github.add_comment(BOT, &format!("{MARKER}\none"));
    pull.github.add_comment("eve", "in between");
    pull.github.add_comment(BOT, &format!("{MARKER}\ntwo"));
    succeeds(pull.run(world));
    assert_eq!(ours(&pull).len(), 1);
    assert_eq!(ours(&pull)[0].id, first);
    assert_eq!(pull.github.comments().len(), 2);

    // A second one that cannot be deleted is said, and the first is right all the same.
    pull.github.add_comment(BOT, &format!("{MARKER}\nthree"));
    let refused = Fault::Answer(403, Vec::new(), "Resource not accessible by integration");
    pull.github.inject("DELETE", "/comments/", refused, 1);
    let ended = succeeds(pull.run(world));
    let warnings = commands(&ended, "warning");
    assert_eq!(warnings.len(), 1, "{}", ended.all());
    assert!(
        warnings[0].contains("there may be two comments"),
        "{warnings:?}"
    );
}

#[test]
fn a_lost_answer_to_a_create_makes_no_second_comment() {
    let Some(world) = stored("annotate::lost") else {
        return;
    };
    for fault in [Fault::ResetAfter, Fault::BadGatewayAfter] {
        let pull = Pull::open();
        pull.github.inject("POST", "/issues/7/comments", fault, 1);
        let ended = succeeds(pull.run(world));
        assert_eq!(ours(&pull).len(), 1, "{}", ended.all());
        assert_eq!(pull.github.count("POST", "/issues/7/comments"), 1);
        assert!(
            ended.screen().contains("comment created"),
            "{}",
            ended.all()
        );
        assert_eq!(commands(&ended, "warning"), Vec::<&str>::new());
        pull.github.assert_content();
    }
    // It did not happen: that is said, and left to the next run.
    for fault in [
        Fault::Answer(502, Vec::new(), "Server Error"),
        Fault::Answer(
            403,
            vec![("Retry-After", "1".to_owned())],
            "secondary rate limit",
        ),
    ] {
        let pull = Pull::open();
        pull.github.inject("POST", "/issues/7/comments", fault, 1);
        let ended = succeeds(pull.run(world));
        assert_eq!(ours(&pull).len(), 0, "{}", ended.all());
        assert_eq!(pull.github.count("POST", "/issues/7/comments"), 1);
        let warnings = commands(&ended, "warning");
        assert_eq!(warnings.len(), 1, "{}", ended.all());
        assert!(
            warnings[0].contains("could not comment on pull request 7"),
            "{warnings:?}"
        );
        assert!(ended.summary.contains("Backup size"));
    }
}
