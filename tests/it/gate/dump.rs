//! pg_dumpall fails in every way that it can: the gate stays closed, says why, and keeps nothing.

use super::world::{Snapshot, World, sample};

/// What the fake does, the exit code, what has to be said, further flags.
type Case = (
    &'static str,
    i32,
    &'static [&'static str],
    &'static [&'static str],
);

fn run(test: &str, cases: &[Case]) {
    let Some(cluster) = sample(test) else {
        return;
    };
    let world = World::local(cluster);
    // An earlier backup: it has to survive everything.
    world.passes(world.gate());
    for (behaviour, code, says, flags) in cases {
        let (gate, _fake) = world.gate_with(behaviour);
        let ended = world.closes(gate.args(flags), *code, says);
        let screen = ended.screen();
        assert!(screen.contains("The backup of "), "{behaviour}: {screen}");
        let failed = ended.output("failed-checks");
        assert!(failed.contains("dump-"), "{behaviour}: {failed}");
    }
    let verify = world.run("verify").end();
    assert_eq!(verify.code, 0, "{}", verify.all());
}

#[test]
fn a_dump_that_ends_early_closes_the_gate() {
    run(
        "early end",
        &[
            ("exits-1-at-start", 1, &["out of memory", "dump-exit"], &[]),
            (
                "exits-1-after-half",
                1,
                &["pg_dump failed on database", "dump-exit"],
                &[],
            ),
            (
                "dies-after-half",
                1,
                &[
                    "was killed (signal 9",
                    "dump-exit",
                    "the trailer of the cluster is missing",
                ],
                &[],
            ),
            (
                "leaves-a-child",
                1,
                &["was killed (signal 9", "dump-exit"],
                &[],
            ),
            (
                "refused-pg-authid",
                1,
                &["pg_authid", "--role-passwords exclude"],
                &[],
            ),
        ],
    );
}

#[test]
fn a_dump_that_lies_closes_the_gate() {
    run(
        "lies",
        &[
            (
                "exits-0-without-trailer",
                1,
                &["the trailer of the cluster is missing"],
                &[],
            ),
            (
                "exits-0-after-half",
                1,
                &["the trailer of the cluster is missing"],
                &[],
            ),
            (
                "exits-1-after-all",
                1,
                &["something failed at the very end", "dump-exit"],
                &[],
            ),
            (
                "prints-garbage",
                1,
                &["the trailer of the cluster is missing", "in globals"],
                &[],
            ),
            (
                "prints-nothing",
                1,
                &["the trailer of the cluster is missing"],
                &[],
            ),
            (
                "prints-a-banner",
                1,
                &["the cluster header", "is not the first thing"],
                &[],
            ),
            ("prints-twice", 1, &["dump-complete"], &[]),
        ],
    );
}

#[test]
fn a_dump_that_hangs_is_ended() {
    run(
        "hangs",
        &[
            (
                "hangs",
                1,
                &["sent no byte for 2 s", "--stall-timeout"],
                &["--stall-timeout", "2s"],
            ),
            (
                "hangs-at-start",
                1,
                &["sent no byte for 2 s", "--stall-timeout"],
                &["--stall-timeout", "2s"],
            ),
            (
                "ignores-sigterm",
                1,
                &["sent no byte for 2 s", "--stall-timeout"],
                &["--stall-timeout", "2s"],
            ),
            (
                "closes-stdout-and-stays",
                1,
                &["closed its output but did not end"],
                &["--stall-timeout", "2s"],
            ),
        ],
    );
}

#[test]
fn a_pipe_that_somebody_else_holds_open_does_not_hold_the_run() {
    let test = "held pipe";
    let Some(cluster) = sample(test) else {
        return;
    };
    let world = World::local(cluster);
    let (gate, _fake) = world.gate_with("leaves-the-pipe-open");
    // What holds the pipe is no child of the run any more, and ends by itself.
    let ended = gate.args(&["--stall-timeout", "2s"]).end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    ended.assert_says("sent no byte for 2 s");
    assert!(ended.seconds < 18.0, "{}", ended.all());
    let left = world.after_failure(&Snapshot::default(), &ended);
    assert!(left.local.is_empty(), "{}", ended.all());
}

#[test]
fn the_deadline_of_the_run_ends_it() {
    let test = "deadline";
    let Some(cluster) = sample(test) else {
        return;
    };
    let world = World::local(cluster);
    let (gate, _fake) = world.gate_with("hangs");
    let gate = gate.args(&["--timeout", "4s"]);
    let ended = world.closes(gate, 3, &["did not end within 4 s", "--timeout"]);
    assert!(ended.seconds < 12.0, "{}", ended.all());
}

#[test]
fn noise_on_stderr_is_shown_and_closes_nothing() {
    let test = "noise";
    let Some(cluster) = sample(test) else {
        return;
    };
    let world = World::local(cluster);
    let (gate, _fake) = world.gate_with("warns");
    let ended = world.passes(gate);
    ended.assert_says("circular foreign-key constraints");
    let (gate, _fake) = world.gate_with("floods-stderr");
    let ended = world.passes(gate);
    ended.assert_says("this line is one of very many");
    let report = std::fs::metadata(ended.dir.path().join("report.json"));
    assert!(report.unwrap().len() < 200_000, "the flood is bounded");
}
