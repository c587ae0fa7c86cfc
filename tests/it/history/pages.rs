//! The HTML report in a real browser, on a phone and on a desk, by day and by night.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use crate::drill::drill;
use crate::gate::world::{World, own, sample};
use crate::support::browser::{Browser, Seen, View};
use crate::support::past::{days_ago, invent, invent_receipt, manifests, read};
use crate::support::peer::{Action, Fault, When};
use crate::support::run::Run;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;

const VIEWS: [View; 4] = [
    View {
        width: 375,
        dark: false,
    },
    View {
        width: 375,
        dark: true,
    },
    View {
        width: 1280,
        dark: false,
    },
    View {
        width: 1280,
        dark: true,
    },
];

/// Names that try to break out, to run, to hide, or to be too long for a phone.
const HOSTILE: [&str; 8] = [
    "<script>document.title='owned'</script>",
    "\"><img src=x onerror=alert(1)>",
    "</title></style></svg></details></main><h1>owned</h1>",
    "\u{202e}gnp.exe\u{200b}\u{1b}[31m",
    "https://example.com/?a=1&b=2",
    "' style='position:fixed;inset:0",
    "a_name_that_never_ends_a_name_that_never_ends_a_name_that_never_ends_a_name_that_never_ends_a_name_that_never_ends",
    "&lt;b&gt; & {{7*7}} ${7*7} <!--",
];

/// What real runs left: a manifest, the receipt of a drill, the report of a gate that failed.
struct Patterns {
    manifest: Value,
    drill: Value,
    failed: Value,
}

fn patterns(world: &World) -> Patterns {
    world.passes(world.gate());
    let ended = drill(world).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    let failed = world.gate().args(&["--require-schema", "nobody"]);
    let failed = world.closes(failed, 1, &["schema nobody"]);
    Patterns {
        manifest: read(&manifests(&world.local.clone().unwrap())[0]),
        drill: ended.report().clone(),
        failed: failed.report().clone(),
    }
}

/// A figure that looks random and is always the same.
fn noise(n: i64) -> i64 {
    (n.wrapping_mul(7919) % 1000 + 1000) % 1000 - 500
}

/// Fills a store with the past of a cluster of two dozen tenants.
fn past(store: &Path, patterns: &Patterns, backups: i64, hostile: bool) {
    fs::create_dir_all(store).unwrap();
    let mut made = 0;
    let mut day = 0;
    while made < backups {
        // Now and then a day is missing, and once a week.
        let missing = backups > 1 && (day % 37 == 5 || (60..64).contains(&day));
        let at = days_ago(day) - SignedDuration::from_mins(90 + noise(day) / 50);
        if !missing {
            let size = 702_000_000 - 1_100_000 * day.min(400) + 3_000 * noise(day);
            backup(store, patterns, at, size, day, hostile);
            made += 1;
        } else if day % 2 == 1 {
            let name = if hostile { HOSTILE[2] } else { "nostromo-prod" };
            invent_receipt(store, &patterns.failed, at, "failed_77_1", |report| {
                report["cluster"] = json!(name);
            });
        }
        if backups > 1 && day % 30 == 9 {
            restore(store, patterns, at, day, hostile);
        }
        day += 1;
    }
    if hostile {
        fs::create_dir_all(store.join("2026-01")).unwrap();
        let name = "2026-01/backup_2026-01-18_02-00-01Z_<b>&\"'.manifest.json";
        fs::write(store.join(name), "<script>alert(1)</script>").unwrap();
        fs::write(store.join("<img src=x onerror=alert(1)>"), "").unwrap();
    }
}

fn backup(
    store: &Path,
    patterns: &Patterns,
    at: jiff::Timestamp,
    size: i64,
    day: i64,
    hostile: bool,
) {
    invent(store, &patterns.manifest, at, |manifest| {
        let name = |n: i64| match (hostile, usize::try_from(n).unwrap()) {
            (true, n) if n < HOSTILE.len() => HOSTILE[n].to_owned(),
            (_, n) => format!("tenant_empresa_{n}"),
        };
        let schemas: Vec<Value> = (0..24)
            .map(|n| {
                // The second one leaks.
                let share = if n == 1 {
                    90 - (day.min(80))
                } else {
                    60 - 2 * n
                };
                let bytes = (size / 1_000 * share.max(3)).max(0);
                json!({ "name": name(n), "bytes": bytes, "rows": bytes / 90, "tables": 30 })
            })
            .collect();
        manifest["source"]["cluster"] = json!(if hostile { HOSTILE[2] } else { "nostromo-prod" });
        manifest["archive"]["dump_bytes"] = json!(size);
        manifest["archive"]["archive_bytes"] = json!(size * 10 / 29);
        manifest["archive"]["rows"] = json!(size / 144);
        let database = if hostile { HOSTILE[0] } else { "nostromo" };
        manifest["databases"] = json!([
            { "name": database, "bytes": size, "rows": size / 144, "tables": 720, "schemas": schemas },
        ]);
    });
}

fn restore(store: &Path, patterns: &Patterns, at: jiff::Timestamp, day: i64, hostile: bool) {
    let failed = day == 99;
    let id = if failed { "failed_1" } else { "passed_1" };
    invent_receipt(store, &patterns.drill, at, id, |report| {
        if hostile {
            report["cluster"] = json!(HOSTILE[2]);
        }
        report["durations"]["restore_seconds"] =
            json!(581.0 - day as f64 + noise(day) as f64 / 10.0);
        report["restored"]["max_restore_seconds"] = json!(900.0);
        if failed {
            report["verdict"] = json!("failed");
            report["exit_code"] = json!(1);
        }
    });
}

/// Writes the page of a store.
fn page(store: &Path, file: &Path) {
    let run = Run::new("history")
        .arg("--local")
        .arg(store)
        .arg("--html")
        .arg(file);
    let ended = run.args(&["--since", "2020-01-01"]).at_home().end();
    assert_eq!(ended.code, 0, "{}", ended.all());
}

/// What holds for every page, everywhere.
fn is_good(name: &str, view: View, seen: &Seen, file: &Path) {
    let Seen {
        requests,
        complaints,
        measured,
    } = seen;
    let place = format!("{name} {view:?}: {measured:#}");
    assert_eq!(requests, &[format!("file://{}", file.display())], "{name}");
    assert_eq!(complaints, &Vec::<String>::new(), "{name}");
    for none in [
        "overflow_closed",
        "overflow_open",
        "unnamed",
        "charts_without_table",
        "active",
        "handlers",
        "heading_jumps",
        "positive_tabindex",
        "unlabelled_regions",
        "unnamed_summaries",
    ] {
        assert_eq!(measured[none], 0, "{none}: {place}");
    }
    for empty in ["links", "twice", "spilled", "clashes", "faint"] {
        assert_eq!(measured[empty], json!([]), "{empty}: {place}");
    }
    let number = |name: &str| measured[name].as_f64().unwrap();
    assert!(number("texts") > 3.0, "{place}");
    assert!(number("least_contrast") >= 4.5, "{place}");
    assert!(number("least_mark_contrast") >= 3.0, "{place}");
    assert!(number("least_size") >= 12.0, "{place}");
    assert_eq!(measured["lang"], "en");
    assert_eq!(measured["h1"], 1, "{place}");
    assert_eq!(measured["invisible"], false, "{place}");
    assert_ne!(measured["title"], "owned");
    let background = number("background");
    assert_eq!(background < 0.1, view.dark, "{place}");
}

/// Looks at a page in every view. Pictures are kept where the environment asks for them.
fn look(browser: &mut Browser, name: &str, file: &Path) -> Value {
    let mut last = Value::Null;
    for view in VIEWS {
        let seen = browser.open(file, view);
        is_good(name, view, &seen, file);
        if let Some(dir) = std::env::var_os("BACKUP_ACTION_PICTURES") {
            browser.evaluate(
                "document.querySelectorAll('details').forEach((d) => { d.open = false; })",
            );
            let theme = if view.dark { "dark" } else { "light" };
            let picture = Path::new(&dir).join(format!("{name}-{}-{theme}.png", view.width));
            fs::write(picture, browser.picture()).unwrap();
        }
        last = seen.measured;
    }
    last
}

#[test]
fn the_page_is_good_for_any_past_on_any_screen() {
    let test = "history::pages";
    let (Some(cluster), Some(mut browser)) = (sample(test), Browser::start(test)) else {
        return;
    };
    let patterns = patterns(&World::local(cluster));
    let dir = tempfile::tempdir().unwrap();
    for (name, backups, hostile, charts) in [
        ("0", 0, false, 0),
        ("1", 1, false, 2),
        ("30", 30, false, 4),
        ("400", 400, false, 4),
        ("hostile", 40, true, 4),
    ] {
        let store = dir.path().join(name);
        past(&store, &patterns, backups, hostile);
        let file = dir.path().join(format!("{name}.html"));
        page(&store, &file);
        let measured = look(&mut browser, name, &file);
        assert_eq!(measured["charts"], charts, "{name}: {measured:#}");
        let says = browser.evaluate("document.body.textContent");
        let says = says.as_str().unwrap();
        let wanted: &[&str] = match name {
            "0" => &["No backup yet"],
            "1" => &["Last verified backup is", "242 MB", "never"],
            "30" => &[
                "Growth of the dump",
                "tenant_empresa_1",
                "a backup is missing",
            ],
            "400" => &[
                "400 backups from",
                "closed gate",
                "failed",
                "at most 15 m 00 s",
            ],
            _ => &[
                "\\u{202e}gnp.exe",
                "<script>",
                "Not counted",
                "onerror=alert(1)",
            ],
        };
        for words in wanted {
            assert!(says.contains(words), "{name}: {words} in {says}");
        }
        let bytes = fs::metadata(&file).unwrap().len();
        assert!(bytes < 1_500_000, "{name}: {bytes}");
    }
}

#[test]
fn the_page_of_a_run_opens_with_its_verdict() {
    let test = "history::page of a run";
    let (Some(cluster), Some(mut browser)) = (own(test), Browser::start(test)) else {
        return;
    };
    cluster.sample(3, 40);
    let world = World::local(&cluster);
    // In Actions the page lies beside the report, for upload-artifact.
    let passed = world.passes(world.gate());
    let file = passed.output("html-path");
    assert!(
        file.starts_with(passed.dir.path().join("runner").to_str().unwrap()),
        "{file}"
    );
    let measured = look(&mut browser, "gate-passed", Path::new(file));
    assert_eq!(measured["first_heading"], "Backup gate passed");
    // The backup of this run is in it.
    let says = browser.evaluate("document.body.textContent");
    let says = says.as_str().unwrap();
    assert!(
        says.contains("1 backup") && says.contains("client-version"),
        "{says}"
    );

    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own.html");
    let failed = world.gate().args(&["--require-schema", "<b>nobody</b>"]);
    let failed = world.closes(failed.arg("--html").arg(&own), 1, &[]);
    assert_eq!(failed.output("html-path"), own.to_str().unwrap());
    let measured = look(&mut browser, "gate-failed", &own);
    assert_eq!(measured["first_heading"], "Backup gate failed");
    let says = browser.evaluate("document.body.textContent");
    let says = says.as_str().unwrap();
    for words in [
        "schema <b>nobody</b>",
        "Correct the name",
        "What still protects you",
    ] {
        assert!(says.contains(words), "{words} in {says}");
    }

    let drilled = drill(&world).end();
    assert_eq!(drilled.code, 0, "{}", drilled.all());
    let measured = look(
        &mut browser,
        "drill",
        Path::new(drilled.output("html-path")),
    );
    assert_eq!(measured["first_heading"], "Restore drill passed");
    let says = browser.evaluate("document.body.textContent");
    assert!(says.as_str().unwrap().contains("in the archive"), "{says}");

    // A page that cannot be written is a warning, no verdict.
    let nowhere = dir.path().join("missing/page.html");
    let ended = world.passes(world.gate().arg("--html").arg(&nowhere));
    assert!(ended.stderr.contains("could not write"), "{}", ended.stderr);
    // Without a store that answers there is still a page, with the reason.
    let unreachable = world.gate().secret_env(
        "BACKUP_ACTION_DATABASE_URL",
        "postgres://x@127.0.0.1:1/x",
        "c@n/ary",
    );
    let ended = world.closes(unreachable.arg("--html").arg(&own), 3, &[]);
    assert!(
        fs::read_to_string(&own)
            .unwrap()
            .contains("could not check"),
        "{}",
        ended.all()
    );
}

#[test]
fn whoever_kills_a_run_that_waits_for_its_page_has_the_outputs() {
    let test = "outputs before the page";
    let Some(cluster) = own(test) else {
        return;
    };
    cluster.sample(1, 10);
    let Some(mut world) = World::remote(test, &cluster) else {
        return;
    };
    let peer = world.peer();
    // Only the page asks for receipts of gates.
    let silence = Fault::Stall(Duration::from_secs(60));
    peer.inject(
        When::Target(Action::ListObjects, "receipts%2Fgate"),
        silence,
    );
    let gate = world.gate();
    let output = gate.dir().join("output");
    let mut watched = world.start(gate);
    watched.going.until("the page's question", || {
        peer.seen().iter().any(|seen| seen.fault.is_some())
    });
    let outputs = fs::read_to_string(output).unwrap();
    watched.going.signal("KILL");
    assert!(outputs.contains("\ntrue\n"), "{outputs}");
}
