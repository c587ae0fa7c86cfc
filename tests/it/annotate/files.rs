//! The changed SQL files: from the checkout and from GitHub, against the tables of the backup.

use super::world::{Pull, commands, stored, succeeds};

#[test]
fn changed_files_name_the_tables_that_they_touch() {
    let Some(world) = stored("annotate::files") else {
        return;
    };
    let pull = Pull::open();
    pull.add_checked_out(
        "db/migrations/0042_payroll.sql",
        "-- UPDATE central.tenants\n\nALTER TABLE payroll ADD COLUMN bonus numeric;\n\
         UPDATE payroll SET bonus = 0;\nSELECT 'DROP TABLE employees';\n",
    );
    let names = "DO $$ BEGIN\n  DELETE FROM central.tenants WHERE id = 0;\nEND $$;";
    pull.github
        .add_file("db/nombres año.sql", "modified", Some(names));
    pull.github
        .add_file("db/gone.sql", "removed", Some("DROP TABLE employees;"));
    pull.github
        .add_file("db/note.md", "added", Some("DROP TABLE employees;"));
    pull.github.add_file("db/missing.sql", "added", None);
    let ended = succeeds(pull.run(world));
    let body = &pull.github.comments()[0].body;
    // Two tenants are as they were made; each has 40 rows.
    let payroll = "- `db/migrations/0042_payroll.sql` line 3 alters and updates **`tenant_empresa_*.payroll`**: 3 tables, 120 rows, ";
    assert!(body.contains(payroll), "{body}");
    let tenants =
        "- `db/nombres año.sql` line 2 deletes from **`central.tenants`**: 1 table, 3 rows, ";
    assert!(body.contains(tenants), "{body}");
    assert!(
        body.contains("The last drill restored everything in "),
        "{body}"
    );
    assert!(!body.contains("employees"), "{body}");
    assert!(body.contains("db/missing.sql was not looked at"), "{body}");
    // The checkout was enough for the first.
    assert_eq!(pull.github.count("GET", "/contents/db/migrations"), 0);
    assert_eq!(
        pull.github
            .count("GET", "/contents/db/nombres%20a%C3%B1o.sql"),
        1
    );

    let notices = commands(&ended, "notice");
    // The hostile schema of the sample has a payroll of its own.
    assert_eq!(notices.len(), 3, "{notices:#?}");
    let of_payroll = notices
        .iter()
        .find(|line| line.contains("tenant_empresa_*"))
        .copied()
        .unwrap_or_default();
    assert!(
        of_payroll.starts_with("::notice file=db/migrations/0042_payroll.sql,line=3,title="),
        "{of_payroll}"
    );
    for words in [
        "this file alters and updates tenant_empresa_*.payroll: 3 tables, 120 rows, ",
        "; the last drill restored everything in ",
    ] {
        assert!(of_payroll.contains(words), "{of_payroll}");
    }
    assert!(
        notices
            .iter()
            .any(|line| line.starts_with("::notice file=db/nombres año.sql,line=2,")),
        "{notices:#?}"
    );
    pull.github.assert_content();
}

#[test]
fn many_files_are_few_annotations() {
    let Some(world) = stored("annotate::many") else {
        return;
    };
    let pull = Pull::open();
    for n in 0..120 {
        pull.add_checked_out(&format!("db/{n:03}.sql"), "TRUNCATE central.tenants;");
    }
    let ended = succeeds(pull.run(world));
    let notices = commands(&ended, "notice");
    assert_eq!(notices.len(), 9, "{notices:#?}");
    assert!(notices[8].contains("and 112 more"), "{notices:#?}");
    let body = &pull.github.comments()[0].body;
    assert!(body.contains("- … and 70 more tables\n"), "{body}");
    assert!(body.len() < 60 * 1024);
    assert_eq!(pull.github.count("GET", "/files"), 2);

    // Other paths, when they are said.
    let ended = succeeds(pull.run(world).args(&[
        "--migration-path",
        "db/00?.sql",
        "--migration-path",
        "x/**",
    ]));
    let body = &pull.github.comments()[0].body;
    assert_eq!(body.matches(" empties ").count(), 10, "{}", ended.all());
    pull.github.assert_content();
}

#[test]
fn files_that_touch_nothing_are_said_to() {
    let Some(world) = stored("annotate::nothing") else {
        return;
    };
    let pull = Pull::open();
    pull.add_checked_out(
        "a.sql",
        "CREATE TABLE new_one (a int); INSERT INTO new_one VALUES (1);",
    );
    let ended = succeeds(pull.run(world));
    let body = &pull.github.comments()[0].body;
    assert!(
        body.contains("1 SQL file of this pull request: no table of the backup is changed."),
        "{body}"
    );
    assert_eq!(commands(&ended, "notice"), Vec::<&str>::new());
}
