//! Each hole alone, in a workflow that has no other: its name and its place.

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// No hole.
const DEPLOY: &str = "\
name: deploy
on:
  push:
    branches: [main]
permissions: {}
concurrency:
  group: deploy-production
  cancel-in-progress: false
jobs:
  gate:
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    permissions:
      contents: read
      id-token: write
    outputs:
      passed: ${{ steps.gate.outputs.passed }}
    steps:
      - uses: actions/checkout@COMMIT
        with:
          persist-credentials: false
      - id: gate
        uses: backup-action/backup-action@COMMIT
        with:
          database-url: ${{ secrets.DATABASE_URL }}
          remote: s3://${{ vars.BUCKET }}/production
          aws-role-to-assume: ${{ vars.ROLE }}
  deploy:
    needs: gate
    if: needs.gate.outputs.passed == 'true'
    runs-on: ubuntu-24.04
    timeout-minutes: 30
    steps:
      - uses: backup-action/backup-action@COMMIT
        with:
          command: verify-receipt
          remote: s3://${{ vars.BUCKET }}/production
      - run: ./deploy.sh
  notify:
    needs: [gate, deploy]
    if: always()
    runs-on: ubuntu-24.04
    steps:
      - run: ./tell.sh
";

/// No hole.
const DRILL: &str = "\
name: restore-drill
on:
  schedule:
    - cron: '43 4 * * 3'
  workflow_dispatch:
concurrency: restore-drill
jobs:
  drill:
    runs-on: ubuntu-24.04
    timeout-minutes: 180
    environment: restore-drill
    steps:
      - uses: backup-action/backup-action@COMMIT
        with:
          command: drill
          remote: s3://${{ vars.BUCKET }}/production
          once-per: month
";

fn look(text: &str) -> Review {
    review(text.replace("COMMIT", COMMIT).as_bytes()).unwrap()
}

fn found(text: &str) -> Vec<(&'static str, usize, usize)> {
    let review = look(text);
    for hole in &review.holes {
        assert!(hole.fix.ends_with('.'), "{hole:?}");
        assert!(!hole.message.ends_with('.'), "{hole:?}");
    }
    review
        .holes
        .iter()
        .map(|hole| (hole.id, hole.at.line, hole.at.column))
        .collect()
}

#[test]
fn good_workflows_have_no_hole() {
    assert_eq!(found(DEPLOY), []);
    assert_eq!(found(DRILL), []);
    // Other ways to write the same.
    for (from, to) in [
        (
            "needs.gate.outputs.passed == 'true'",
            "${{ needs.gate.outputs.passed == 'true' }}",
        ),
        (
            "needs.gate.outputs.passed == 'true'",
            "${{ 'true' == needs.gate.outputs.passed }}",
        ),
        (
            "needs.gate.outputs.passed == 'true'",
            "always() && needs.gate.outputs.passed == 'true'",
        ),
        (
            "needs.gate.outputs.passed == 'true'",
            "(needs.gate.outputs.passed == 'true' && (github.ref == 'refs/heads/main' || inputs.now))",
        ),
        (
            "if: needs.gate.outputs.passed == 'true'",
            "if: |\n      needs.gate.outputs.passed == 'true'",
        ),
        ("needs: gate\n", "needs: [gate]\n"),
        (
            "      - run: ./deploy.sh\n",
            "      - run: ./deploy.sh\n  smoke:\n    needs: deploy\n    runs-on: x\n    environment: production\n    steps: [{run: ./smoke.sh}]\n",
        ),
        (
            "  deploy:\n",
            "  build:\n    runs-on: x\n    steps: [{run: make}]\n  deploy:\n",
        ),
    ] {
        assert!(DEPLOY.contains(from), "{from}");
        assert_eq!(found(&DEPLOY.replacen(from, to, 1)), [], "{to}");
    }
    // Without this program nothing is said, whatever it does.
    let other = "on: pull_request_target\njobs:\n  deploy:\n    if: always()\n    steps: [{uses: a/b@main}]\n";
    assert!(!look(other).is_ours);
    assert_eq!(found(other), []);
}

#[test]
fn each_hole_is_found_where_it_is() {
    let condition = "    if: needs.gate.outputs.passed == 'true'\n";
    let matrix = "    outputs:\n      passed: ${{ steps.gate.outputs.passed }}\n";
    let result = [(condition, "    if: needs.gate.result == 'success'\n")];
    type Edits<'a> = &'a [(&'a str, &'a str)];
    type Expected = (&'static str, usize, usize);
    let cases: &[(&str, Edits, Expected)] = &[
        (
            "no needs",
            &[("    needs: gate\n", ""), (condition, "")],
            ("deploy-needs-gate", 28, 3),
        ),
        (
            "no condition",
            &[(condition, "")],
            ("deploy-asks-passed", 28, 3),
        ),
        (
            "another condition",
            &[(condition, "    if: github.ref == 'refs/heads/main'\n")],
            ("deploy-asks-passed", 30, 9),
        ),
        (
            "always",
            &[(condition, "    if: always()\n")],
            ("deploy-always", 30, 9),
        ),
        (
            "not cancelled",
            &[(condition, "    if: ${{ !cancelled() }}\n")],
            ("deploy-always", 30, 9),
        ),
        (
            "failure",
            &[(condition, "    if: success() || failure()\n")],
            ("deploy-always", 30, 9),
        ),
        (
            "boolean",
            &[(condition, "    if: needs.gate.outputs.passed == true\n")],
            ("passed-comparison", 30, 9),
        ),
        (
            "truthy",
            &[(condition, "    if: needs.gate.outputs.passed\n")],
            ("passed-comparison", 30, 9),
        ),
        (
            "not false",
            &[(condition, "    if: needs.gate.outputs.passed != 'false'\n")],
            ("passed-comparison", 30, 9),
        ),
        (
            "choice",
            &[(
                condition,
                "    if: needs.gate.outputs.passed == 'true' || inputs.force\n",
            )],
            ("passed-comparison", 30, 9),
        ),
        (
            "block",
            &[(
                condition,
                "    if: |\n      ${{ needs.gate.outputs.passed == 'true' }}\n",
            )],
            ("if-always-true", 31, 7),
        ),
        (
            "half",
            &[(
                condition,
                "    if: ${{ needs.gate.outputs.passed }} == 'true'\n",
            )],
            ("if-always-true", 30, 9),
        ),
        ("no output", &[(matrix, "")], ("passed-not-mapped", 28, 5)),
        (
            "wrong output",
            &[("steps.gate.outputs.passed", "steps.gate.outputs.status")],
            ("passed-not-mapped", 17, 7),
        ),
        (
            "no id",
            &[("- id: gate\n        uses", "- uses")],
            ("passed-not-mapped", 17, 7),
        ),
        (
            "job continues",
            &[("  gate:\n", "  gate:\n    continue-on-error: true\n")],
            ("gate-continue-on-error", 11, 5),
        ),
        (
            "step continues",
            &[(
                "      - id: gate\n",
                "      - id: gate\n        continue-on-error: ${{ inputs.soft }}\n",
            )],
            ("gate-continue-on-error", 23, 9),
        ),
        (
            "no concurrency",
            &[(
                "concurrency:\n  group: deploy-production\n  cancel-in-progress: false\n",
                "",
            )],
            ("concurrency", 7, 3),
        ),
        (
            "cancels",
            &[("cancel-in-progress: false", "cancel-in-progress: true")],
            ("concurrency", 8, 3),
        ),
        (
            "no timeout",
            &[("    timeout-minutes: 60\n", "")],
            ("timeout-minutes", 10, 3),
        ),
        (
            "secret output",
            &[(
                "    outputs:\n",
                "    outputs:\n      url: ${{ secrets.DATABASE_URL }}\n",
            )],
            ("secret-in-output", 17, 12),
        ),
        (
            "secret in GITHUB_OUTPUT",
            &[(
                "      - id: gate\n",
                "      - run: echo \"u=${{ secrets.U }}\" >> \"$GITHUB_OUTPUT\"\n      - id: gate\n",
            )],
            ("secret-in-output", 22, 14),
        ),
        (
            "secret bucket",
            &[("vars.BUCKET", "secrets.BUCKET")],
            ("secret-in-output", 26, 19),
        ),
        (
            "pull request",
            &[(
                "  push:\n    branches: [main]\n",
                "  pull_request:\n  push:\n",
            )],
            ("secrets-on-pull-request", 25, 25),
        ),
        (
            "pull request target",
            &[("  push:\n", "  pull_request_target:\n")],
            ("pull-request-target", 3, 3),
        ),
        (
            "tag",
            &[(
                "      - id: gate\n        uses: backup-action/backup-action@COMMIT",
                "      - id: gate\n        uses: backup-action/backup-action@v1",
            )],
            ("unpinned-action", 23, 15),
        ),
        (
            "no id-token",
            &[("      id-token: write\n", "")],
            ("id-token", 26, 31),
        ),
        (
            "credentials",
            &[("        with:\n          persist-credentials: false\n", "")],
            ("persist-credentials", 19, 9),
        ),
        (
            "no receipt",
            &[(
                "      - uses: backup-action/backup-action@COMMIT\n        with:\n          command: verify-receipt\n          remote: s3://${{ vars.BUCKET }}/production\n",
                "",
            )],
            ("verify-receipt-first", 28, 3),
        ),
        (
            "late receipt",
            &[(
                "    timeout-minutes: 30\n    steps:\n",
                "    timeout-minutes: 30\n    steps:\n      - run: ./deploy.sh\n",
            )],
            ("verify-receipt-first", 35, 9),
        ),
        (
            "skipped",
            &[
                (
                    "  push:\n    branches: [main]\n",
                    "  merge_group:\n  push:\n",
                ),
                ("  gate:\n", "  gate:\n    if: vars.GATE\n"),
            ],
            ("gate-skipped", 11, 5),
        ),
        (
            "matrix",
            &[
                (
                    "    outputs:\n",
                    "    strategy: {fail-fast: false, matrix: {c: [a, b]}}\n    outputs:\n",
                ),
                result[0],
            ],
            ("matrix-outputs", 17, 5),
        ),
        (
            "fail fast",
            &[
                (matrix, "    strategy:\n      matrix: {c: [a, b]}\n"),
                result[0],
            ],
            ("matrix-fail-fast", 17, 7),
        ),
        (
            "drill-fresh",
            &[(
                "          remote:",
                "          check: drill-fresh=warn\n          remote:",
            )],
            ("drill-fresh-warns", 26, 18),
        ),
        (
            "same job",
            &[(
                "  deploy:\n",
                "      - if: always()\n        run: ./deploy.sh\n  deploy:\n",
            )],
            ("deploy-always", 28, 13),
        ),
        (
            "in a shell",
            &[(
                "      - id: gate\n        uses: backup-action/backup-action@COMMIT\n        with:\n          database-url: ${{ secrets.DATABASE_URL }}\n          remote: s3://${{ vars.BUCKET }}/production\n          aws-role-to-assume: ${{ vars.ROLE }}\n",
                "      - id: gate\n        run: backup-action gate --local /b || true\n",
            )],
            ("gate-continue-on-error", 23, 14),
        ),
        (
            "drill in the same file",
            &[
                ("  push:\n", "  schedule: [{cron: '43 4 * * 3'}]\n  push:\n"),
                (
                    "  notify:\n",
                    "  drill:\n    runs-on: x\n    timeout-minutes: 9\n    steps:\n      - {uses: backup-action/backup-action@COMMIT, with: {command: drill, once-per: month}}\n  notify:\n",
                ),
            ],
            ("drill-in-gate-file", 3, 21),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, edits, expected) in cases {
        let mut text = DEPLOY.to_owned();
        for (from, to) in *edits {
            assert!(text.contains(from), "{name}: {from}");
            text = text.replacen(from, to, 1);
        }
        let found = found(&text);
        if found != [*expected] {
            wrong.push(format!("{name}: {found:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let cases: &[(&str, &str, (&str, usize, usize))] = &[
        (
            "'43 4 * * 3'",
            "'0 4 * * 3'",
            ("schedule-on-the-hour", 4, 13),
        ),
        (
            "'43 4 * * 3'\n  workflow_dispatch:\n",
            "'17 3 1 * *'\n  workflow_dispatch:\n",
            ("", 0, 0),
        ),
    ];
    for (from, to, expected) in cases {
        let text = DRILL.replacen(from, to, 1);
        assert_ne!(text, DRILL);
        let expected: Vec<_> = Some(*expected)
            .into_iter()
            .filter(|hole| !hole.0.is_empty())
            .collect();
        assert_eq!(found(&text), expected, "{to}");
    }
    let monthly = DRILL
        .replace("'43 4 * * 3'", "'17 3 1 * *'")
        .replace("          once-per: month\n", "");
    assert_eq!(found(&monthly), [("drill-monthly", 4, 13)]);
}

#[test]
fn what_was_not_looked_at_is_said() {
    let called = DEPLOY.replace(
        "  notify:\n",
        "  ship:\n    needs: gate\n    if: needs.gate.outputs.passed == 'true'\n    uses: ./.github/workflows/ship.yml\n  notify:\n",
    );
    let review = look(&called);
    assert_eq!(review.holes, []);
    let (at, note) = &review.notes[0];
    assert_eq!((at.line, at.column), (42, 11));
    assert!(note.contains("ship.yml, which was not looked at"), "{note}");
}
