//! The tables that the statements of a file change or lock, by what stands at the place of a
//! table's name. What is only read is no mention, nor is a name that a template fills in (`%I`,
//! `:schema`, `${schema}`): those are no names. Pure.

use super::sql::{self, Placed};
use crate::archive::index::Name;
use crate::archive::token::Token;
use std::sync::Arc;

/// What a statement does to a table, the hardest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// DROP TABLE.
    Drop,
    /// TRUNCATE.
    Truncate,
    /// ALTER TABLE.
    Alter,
    /// DELETE.
    Delete,
    /// UPDATE.
    Update,
    /// MERGE.
    Merge,
    /// INSERT.
    Insert,
    /// COPY … FROM.
    Copy,
    /// CREATE INDEX.
    Index,
    /// CREATE TRIGGER, CREATE POLICY.
    Attach,
    /// LOCK.
    Lock,
    /// A foreign key to it, which locks it.
    Reference,
}

impl Verb {
    /// The word in `this file alters …`.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Drop => "drops",
            Verb::Truncate => "empties",
            Verb::Alter => "alters",
            Verb::Delete => "deletes from",
            Verb::Update => "updates",
            Verb::Merge => "merges into",
            Verb::Insert => "inserts into",
            Verb::Copy => "copies into",
            Verb::Index => "indexes",
            Verb::Attach => "attaches a trigger or policy to",
            Verb::Lock => "locks",
            Verb::Reference => "refers to",
        }
    }
}

/// A table's name in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The line of the name, from 1.
    pub line: u32,
    /// What is done to it.
    pub verb: Verb,
    /// The schema that stands before the name.
    pub schema: Option<Name>,
    /// The name as PostgreSQL reads it: without quotes, or in small letters.
    pub table: Name,
    /// The schemas of the `SET search_path` before it, where there is one.
    pub search_path: Arc<[Name]>,
}

/// What is read of a search path: nobody writes one that is longer.
const MAX_SEARCH_PATH: usize = 2_000;

/// Every mention in the text of a file, in its order.
pub fn mentions(text: &[u8]) -> Vec<Mention> {
    let mut out = Vec::new();
    let mut search_path: Arc<[Name]> = Arc::default();
    for statement in sql::statements(text) {
        if let Some(path) = new_search_path(&statement) {
            search_path = path.into();
        }
        if sql::creates_routine(&statement) || is_right(&statement) {
            continue;
        }
        for at in 0..statement.len() {
            read(&statement, at, &search_path, &mut out);
        }
    }
    out
}

/// GRANT, REVOKE and ALTER DEFAULT PRIVILEGES name rights by the words that others begin with.
fn is_right(statement: &[Placed]) -> bool {
    statement
        .first()
        .is_some_and(|first| first.token.is("GRANT") || first.token.is("REVOKE"))
}

/// The schemas of `SET [LOCAL|SESSION] search_path {TO|=} …`.
fn new_search_path(statement: &[Placed]) -> Option<Vec<Name>> {
    let mut at = statement
        .iter()
        .position(|placed| placed.token.is("SET"))
        .filter(|at| begins(statement, *at))?
        + 1;
    if is(statement, at, "LOCAL") || is(statement, at, "SESSION") {
        at += 1;
    }
    if !is(statement, at, "SEARCH_PATH") {
        return None;
    }
    let names = statement[at + 1..].iter().skip(1);
    Some(
        names
            .take(MAX_SEARCH_PATH)
            .filter(|placed| !placed.token.is("DEFAULT"))
            .filter_map(|placed| match &placed.token {
                Token::Text(name) => Some(Name::from(name.as_slice())),
                token => name_of(token),
            })
            .collect(),
    )
}

/// Whether a statement may begin at this token: at the start, in a WITH list or behind it, and
/// behind the words of PL/pgSQL that a statement follows.
fn begins(statement: &[Placed], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|at| &statement[at].token) else {
        return true;
    };
    matches!(before, Token::Sign(b'(' | b')'))
        || ["BEGIN", "THEN", "ELSE", "LOOP", "DECLARE"]
            .iter()
            .any(|word| before.is(word))
}

fn is(statement: &[Placed], at: usize, word: &str) -> bool {
    statement.get(at).is_some_and(|p| p.token.is(word))
}

/// Behind the words from `at` on that are there; each is optional.
fn behind(statement: &[Placed], mut at: usize, words: &[&str]) -> usize {
    for word in words {
        if is(statement, at, word) {
            at += 1;
        }
    }
    at
}

fn read(statement: &[Placed], at: usize, path: &Arc<[Name]>, out: &mut Vec<Mention>) {
    let word = &statement[at].token;
    let is_next = |word: &str| is(statement, at + 1, word);
    let one = |verb: Verb, from: usize, skipped: &[&str], out: &mut Vec<Mention>| {
        list(
            statement,
            behind(statement, from, skipped),
            verb,
            path,
            false,
            out,
        );
    };
    let all = |verb: Verb, from: usize, skipped: &[&str], out: &mut Vec<Mention>| {
        list(
            statement,
            behind(statement, from, skipped),
            verb,
            path,
            true,
            out,
        );
    };
    // `FOREIGN KEY … REFERENCES table` stands in the middle.
    if word.is("REFERENCES") && at > 0 {
        return one(Verb::Reference, at + 1, &[], out);
    }
    if !begins(statement, at) {
        return;
    }
    if word.is("ALTER") && is_next("TABLE") && !is(statement, at + 2, "ALL") {
        one(Verb::Alter, at + 2, &["IF", "EXISTS", "ONLY"], out);
    } else if word.is("DROP") && is_next("TABLE") {
        all(Verb::Drop, at + 2, &["IF", "EXISTS"], out);
    } else if word.is("TRUNCATE") {
        all(Verb::Truncate, at + 1, &["TABLE", "ONLY"], out);
    } else if word.is("UPDATE") {
        one(Verb::Update, at + 1, &["ONLY"], out);
    } else if word.is("DELETE") && is_next("FROM") {
        one(Verb::Delete, at + 2, &["ONLY"], out);
    } else if word.is("INSERT") && is_next("INTO") {
        one(Verb::Insert, at + 2, &[], out);
    } else if word.is("MERGE") && is_next("INTO") {
        one(Verb::Merge, at + 2, &["ONLY"], out);
    } else if word.is("LOCK") {
        all(Verb::Lock, at + 1, &["TABLE", "ONLY"], out);
    } else if word.is("COPY") && copies_in(&statement[at..]) {
        one(Verb::Copy, at + 1, &[], out);
    } else if word.is("CREATE") {
        create(statement, at, path, out);
    }
}

/// `COPY table [(columns)] FROM …`; the other direction only reads.
fn copies_in(statement: &[Placed]) -> bool {
    let mut depth = 0_u32;
    for placed in statement {
        match placed.token {
            Token::Sign(b'(') => depth += 1,
            Token::Sign(b')') => depth = depth.saturating_sub(1),
            _ if depth == 0 && placed.token.is("FROM") => return true,
            _ if depth == 0 && placed.token.is("TO") => return false,
            _ => {}
        }
    }
    false
}

/// CREATE INDEX … ON, CREATE TRIGGER … ON, CREATE POLICY … ON.
fn create(statement: &[Placed], at: usize, path: &Arc<[Name]>, out: &mut Vec<Mention>) {
    let kind = behind(
        statement,
        at + 1,
        &["OR", "REPLACE", "CONSTRAINT", "UNIQUE"],
    );
    let verb = if is(statement, kind, "INDEX") {
        Verb::Index
    } else if is(statement, kind, "TRIGGER") || is(statement, kind, "POLICY") {
        Verb::Attach
    } else {
        return;
    };
    let on = statement[kind..].iter().position(|p| p.token.is("ON"));
    if let Some(on) = on {
        let from = behind(statement, kind + on + 1, &["ONLY"]);
        list(statement, from, verb, path, false, out);
    }
}

/// Notes the name at `at`, and with `more` those behind commas as well.
fn list(
    statement: &[Placed],
    mut at: usize,
    verb: Verb,
    path: &Arc<[Name]>,
    more: bool,
    out: &mut Vec<Mention>,
) {
    loop {
        let Some((schema, table, next)) = qualified(statement, at) else {
            return;
        };
        out.push(Mention {
            line: statement[at].line,
            verb,
            schema,
            table,
            search_path: Arc::clone(path),
        });
        let next = match statement.get(next).map(|placed| &placed.token) {
            Some(Token::Sign(b'*')) => next + 1,
            _ => next,
        };
        let comma = statement.get(next).map(|placed| &placed.token);
        if !more || comma != Some(&Token::Sign(b',')) {
            return;
        }
        at = behind(statement, next + 1, &["ONLY"]);
    }
}

/// `table`, `schema.table` or `database.schema.table` at `at`, and where it ends.
fn qualified(statement: &[Placed], at: usize) -> Option<(Option<Name>, Name, usize)> {
    let name = |at: usize| statement.get(at).and_then(|placed| name_of(&placed.token));
    let dot = |at: usize| statement.get(at).map(|placed| &placed.token) == Some(&Token::Sign(b'.'));
    let mut parts = vec![name(at)?];
    let mut next = at + 1;
    while dot(next) {
        // `schema.%I`: the table is not known.
        parts.push(name(next + 1)?);
        next += 2;
    }
    let table = parts.pop()?;
    Some((parts.pop(), table, next))
}

/// The name as PostgreSQL reads it; none for a number, and for words that are no names here.
fn name_of(token: &Token) -> Option<Name> {
    const NOT_NAMES: [&str; 6] = ["SET", "ON", "OF", "FROM", "SELECT", "TABLE"];
    match token {
        Token::Quoted(name) => Some(Name::from(name.as_slice())),
        Token::Word(word) if word.first().is_some_and(u8::is_ascii_digit) => None,
        Token::Word(_) if NOT_NAMES.iter().any(|word| token.is(word)) => None,
        Token::Word(word) => Some(Name::from(word.to_ascii_lowercase())),
        Token::Text(_) | Token::Sign(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        mentions(text.as_bytes())
            .iter()
            .map(|mention| {
                let schema = mention
                    .schema
                    .as_ref()
                    .map_or(String::new(), |s| format!("{s}."));
                let path: Vec<_> = mention.search_path.iter().map(Name::to_lossy).collect();
                let path = if path.is_empty() {
                    String::new()
                } else {
                    format!(" in {}", path.join(","))
                };
                format!(
                    "{} {} {schema}{}{path}",
                    mention.line,
                    mention.verb.word(),
                    mention.table
                )
            })
            .collect()
    }

    #[test]
    fn a_long_search_path_is_kept_once_and_to_a_limit() {
        let path: Vec<String> = (0..MAX_SEARCH_PATH + 5).map(|n| format!("s{n}")).collect();
        let text = format!(
            "SET search_path TO {};{}",
            path.join(", "),
            "ALTER TABLE payroll x;".repeat(50)
        );
        let found = mentions(text.as_bytes());
        assert_eq!(found.len(), 50);
        assert!(!found[0].search_path.is_empty() && found[0].search_path.len() <= MAX_SEARCH_PATH);
        for mention in &found {
            assert!(Arc::ptr_eq(&mention.search_path, &found[0].search_path));
        }
    }

    #[test]
    fn every_statement_that_changes_a_table_names_it() {
        for (text, wanted) in [
            ("ALTER TABLE payroll ADD x int", "1 alters payroll"),
            (
                "alter table if exists only Central.\"Pay Roll\" rename a to b",
                "1 alters central.Pay Roll",
            ),
            (
                "ALTER TABLE db.central.tenants OWNER TO x",
                "1 alters central.tenants",
            ),
            ("UPDATE ONLY payroll p SET a = 1", "1 updates payroll"),
            ("DELETE FROM \"x\"\"y\" WHERE 1 = 1", "1 deletes from x\"y"),
            ("INSERT INTO s.t (a) SELECT 1", "1 inserts into s.t"),
            ("MERGE INTO t USING u ON t.a = u.a", "1 merges into t"),
            ("LOCK t IN ACCESS EXCLUSIVE MODE", "1 locks t"),
            ("COPY t (a, b) FROM '/x'", "1 copies into t"),
            (
                "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY s.t USING btree (a)",
                "1 indexes s.t",
            ),
            ("CREATE INDEX ON t (a)", "1 indexes t"),
            (
                "CREATE OR REPLACE TRIGGER g BEFORE UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION f()",
                "1 attaches a trigger or policy to t",
            ),
            (
                "CREATE POLICY p ON t USING (true)",
                "1 attaches a trigger or policy to t",
            ),
            (
                "CREATE TABLE n (a int REFERENCES central.tenants (id))",
                "1 refers to central.tenants",
            ),
            (
                "WITH gone AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM gone",
                "1 deletes from t; 1 inserts into u",
            ),
            (
                "TRUNCATE TABLE ONLY a, s.b *, ONLY c RESTART IDENTITY",
                "1 empties a; 1 empties s.b; 1 empties c",
            ),
            ("DROP TABLE IF EXISTS a, b CASCADE", "1 drops a; 1 drops b"),
            ("begin;\n\nALTER TABLE\n  t\nADD x int;", "4 alters t"),
            (
                "DO $$ BEGIN\nIF true THEN UPDATE t SET a = 1; END IF;\nEND $$",
                "2 updates t",
            ),
            (
                "SET search_path TO tenant_1, \"Public\"; update t set a = 1; set local search_path = default; update t set a = 1",
                "1 updates t in tenant_1,Public; 1 updates t",
            ),
        ] {
            assert_eq!(found(text).join("; "), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_read_quoted_commented_or_filled_in_is_no_mention() {
        for text in [
            "SELECT * FROM payroll",
            "SELECT * FROM payroll FOR UPDATE OF payroll",
            "COPY payroll TO stdout",
            "COPY (SELECT * FROM a) TO '/x'",
            "-- ALTER TABLE payroll\n/* DROP TABLE payroll; */ select 'DROP TABLE payroll'",
            "SELECT $$ DROP TABLE payroll $$",
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM payroll; END $$",
            "CREATE FUNCTION f() RETURNS void BEGIN ATOMIC DELETE FROM payroll; END",
            "GRANT UPDATE, DELETE, TRUNCATE, REFERENCES ON payroll TO x",
            "ALTER TABLE %I.payroll ADD x int",
            "ALTER TABLE :schema.payroll ADD x int",
            "ALTER TABLE ${schema}.payroll ADD x int",
            "ALTER TABLE {{ schema }}.payroll ADD x int",
            "ALTER TABLE central.%I ADD x int",
            "DO $$ BEGIN EXECUTE format('ALTER TABLE %I.payroll ADD x int', s); END $$",
            "ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b",
            "INSERT INTO %s VALUES (1) ON CONFLICT DO UPDATE SET a = 1",
            "CREATE TABLE payroll (a int)",
            "ALTER INDEX payroll RENAME TO x",
            "COPY %s FROM stdin;\nDROP TABLE payroll;\n\\.\n",
            "CREATE RULE r AS ON UPDATE TO payroll DO INSTEAD NOTHING",
            "",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }
}
