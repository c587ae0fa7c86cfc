//! Reading pg_dump's statements by their tokens: the names in them, the expressions that run for
//! each row, and what an index or key is on.

use crate::archive::index::Name;
use crate::archive::token::Token;

/// Schema and name.
pub(super) type Qualified = (Name, Name);

/// Functions of PostgreSQL that read tables named at run time.
const READERS: [&str; 8] = [
    "query_to_xml",
    "table_to_xml",
    "schema_to_xml",
    "database_to_xml",
    "cursor_to_xml",
    "ts_stat",
    "ts_rewrite",
    "currval",
];

/// What a CREATE TABLE, DOMAIN or TYPE says.
pub(super) struct Parts<'a> {
    /// What stands in CHECK (…), GENERATED ALWAYS AS (…) and PARTITION BY … (…).
    pub(super) expressions: Vec<&'a [Token]>,
    /// The tables of INHERITS (…) and PARTITION OF.
    pub(super) parents: Vec<Qualified>,
    pub(super) is_partitioned: bool,
    pub(super) is_range: bool,
}

/// Takes a statement apart.
pub(super) fn parts(tokens: &[Token]) -> Parts<'_> {
    let mut parts = Parts {
        expressions: Vec::new(),
        parents: Vec::new(),
        is_partitioned: false,
        is_range: false,
    };
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(word));
    for at in 0..tokens.len() {
        if is(at, "CHECK") || is(at, "ALWAYS") && is(at + 1, "AS") {
            parts.expressions.push(in_parens(&tokens[at..]));
        } else if is(at, "INHERITS") {
            parts.parents.extend(qualified(in_parens(&tokens[at..])));
        } else if is(at, "PARTITION") && is(at + 1, "OF") {
            parts.parents.extend(qualified(&tokens[at..]).next());
        } else if is(at, "PARTITION") && is(at + 1, "BY") {
            parts.is_partitioned = true;
            parts.expressions.push(in_parens(&tokens[at..]));
        } else if is(at, "AS") && is(at + 1, "RANGE") {
            parts.is_range = true;
        }
    }
    parts
}

/// What the first parentheses hold.
fn in_parens(tokens: &[Token]) -> &[Token] {
    let Some(open) = tokens.iter().position(|t| *t == Token::Sign(b'(')) else {
        return &[];
    };
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Sign(b'(') => depth += 1,
            Token::Sign(b')') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &tokens[open + 1..at];
        }
    }
    &tokens[open + 1..]
}

/// Every `schema.name` in `tokens`.
pub(super) fn qualified(tokens: &[Token]) -> impl Iterator<Item = Qualified> {
    tokens.windows(3).filter_map(|three| match three {
        [schema, Token::Sign(b'.'), name] => {
            Some((Name::from(schema.name()?), Name::from(name.name()?)))
        }
        _ => None,
    })
}

/// Whether an expression calls a function or operator that is not PostgreSQL's own, or one that
/// reads tables. Columns are never qualified in the expressions of a table; a type behind `::` is no
/// call.
pub(super) fn calls_out(tokens: &[Token]) -> bool {
    let foreign = |at: usize| {
        let [schema, Token::Sign(b'.'), name] = &tokens[at..at + 3] else {
            return false;
        };
        if schema.name().is_none() || name.name().is_none() || schema.is("pg_catalog") {
            return false;
        }
        let cast =
            at >= 2 && tokens[at - 1] == Token::Sign(b':') && tokens[at - 2] == Token::Sign(b':');
        let called = tokens.get(at + 3) == Some(&Token::Sign(b'('));
        // `OPERATOR(schema.+)` has no name behind the point, and is found below.
        called || !cast
    };
    let reads = |token: &Token| {
        let Some(name) = token.name() else {
            return false;
        };
        READERS
            .iter()
            .any(|reader| name.starts_with(reader.as_bytes()))
    };
    let operator = |at: usize| {
        tokens[at].is("OPERATOR")
            && tokens.get(at + 1) == Some(&Token::Sign(b'('))
            && !tokens.get(at + 2).is_some_and(|t| t.is("pg_catalog"))
    };
    (0..tokens.len().saturating_sub(2)).any(foreign)
        || (0..tokens.len()).any(operator)
        || tokens.iter().any(reads)
}

/// The table of `CREATE [UNIQUE] INDEX name ON [ONLY] table USING …` or `ALTER TABLE [ONLY] table
/// ADD CONSTRAINT name PRIMARY KEY | UNIQUE | EXCLUDE …`, and the rest of the statement.
pub(super) fn key(tokens: &[Token]) -> Option<(Qualified, &[Token])> {
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(word));
    if is(0, "ALTER") && is(1, "TABLE") {
        let (table, rest) = table(&tokens[2..])?;
        let [add, constraint, _, what, rest @ ..] = rest else {
            return None;
        };
        let is_key = ["PRIMARY", "UNIQUE", "EXCLUDE"].iter().any(|k| what.is(k));
        return (add.is("ADD") && constraint.is("CONSTRAINT") && is_key).then_some((table, rest));
    }
    let index = if is(1, "UNIQUE") { 2 } else { 1 };
    if is(0, "CREATE") && is(index, "INDEX") && is(index + 2, "ON") {
        return table(&tokens[index + 3..]);
    }
    None
}

/// Whether a statement behind a key's, in the same entry, is about `of` alone: CLUSTER ON, REPLICA
/// IDENTITY, statistics of an index.
pub(super) fn follows_key(tokens: &[Token], of: &Qualified) -> bool {
    match tokens {
        [alter, what, rest @ ..] if alter.is("ALTER") && what.is("TABLE") => {
            table(rest).is_some_and(|(table, _)| table == *of)
        }
        [alter, what, ..] => alter.is("ALTER") && what.is("INDEX"),
        _ => false,
    }
}

fn table(tokens: &[Token]) -> Option<(Qualified, &[Token])> {
    let tokens = match tokens {
        [only, rest @ ..] if only.is("ONLY") => rest,
        tokens => tokens,
    };
    match tokens {
        [schema, Token::Sign(b'.'), name, rest @ ..] => {
            let table = (Name::from(schema.name()?), Name::from(name.name()?));
            Some((table, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::index::{Entry, Sha256Digest};
    use crate::archive::statements::EntryReader;

    fn tokens(sql: &str) -> Vec<Token> {
        let entry = Entry {
            database: None,
            kind: "GLOBAL".into(),
            schema: None,
            name: "".into(),
            owner: None,
            ranges: Vec::new(),
            sha256: Sha256Digest([0; 32]),
            copy: None,
        };
        let mut statements = Vec::new();
        let mut reader = EntryReader::new(&entry, false).unwrap();
        reader.feed(sql.as_bytes(), &mut statements).unwrap();
        statements.remove(0).tokens
    }

    #[test]
    fn an_expression_that_calls_what_is_not_postgresqls_is_seen() {
        for (expression, expected) in [
            ("a > 1", false),
            ("lower(a) = 'x'::text", false),
            ("pg_catalog.lower(a) = 'x'", false),
            ("a = 'x'::app.mood", false),
            ("(p).x > 1", false),
            ("app.known(a)", true),
            ("\"we ird\".\"k(n\"(a)", true),
            ("a OPERATOR(app.+) b", true),
            ("a OPERATOR(pg_catalog.+) b", false),
            ("'app.known(a)' <> a", false),
            ("query_to_xml('select 1', true, true, '') IS NULL", true),
        ] {
            let sql = format!("CREATE TABLE s.t (a text, CONSTRAINT c CHECK (({expression})));");
            let tokens = tokens(&sql);
            let parts = parts(&tokens);
            assert_eq!(parts.expressions.len(), 1, "{sql}");
            assert_eq!(calls_out(parts.expressions[0]), expected, "{expression}");
        }
        // A type with arguments and a default are no checks of rows.
        let sql = "CREATE TABLE s.t (g app.geometry(Point,4326), n int DEFAULT app.next());";
        assert!(parts(&tokens(sql)).expressions.is_empty());
    }

    #[test]
    fn generated_columns_partition_keys_and_parents_are_found() {
        let sql = "CREATE TABLE s.t (a int, b int GENERATED ALWAYS AS (app.f(a)) STORED, c int GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME s.q)) INHERITS (s.p, \"x.y\".z) PARTITION BY RANGE (app.g(a));";
        let tokens = tokens(sql);
        let parts = parts(&tokens);
        assert!(parts.is_partitioned);
        let parents = [("s", "p"), ("x.y", "z")].map(|(a, b)| (a.into(), b.into()));
        assert_eq!(parts.parents, parents);
        let calls = parts.expressions.iter().filter(|part| calls_out(part));
        assert_eq!(
            calls.count(),
            3,
            "the sequence counts too: to be on the safe side"
        );
    }

    #[test]
    fn what_an_index_or_key_is_on_is_known_or_left_alone() {
        let on = |sql: &str| {
            let tokens = tokens(sql);
            key(&tokens)
                .map(|((schema, table), rest)| (format!("{schema}.{table}"), calls_out(rest)))
        };
        for (sql, expected) in [
            (
                "CREATE INDEX i ON s.t USING btree (a);",
                Some(("s.t", false)),
            ),
            (
                "CREATE UNIQUE INDEX i ON ONLY s.\"t x\" USING btree (lower(a));",
                Some(("s.t x", false)),
            ),
            (
                "CREATE INDEX i ON s.t USING btree (app.f(a));",
                Some(("s.t", true)),
            ),
            (
                "CREATE INDEX i ON s.t USING gin (a app.gin_trgm_ops);",
                Some(("s.t", true)),
            ),
            (
                "ALTER TABLE ONLY s.t ADD CONSTRAINT c PRIMARY KEY (a);",
                Some(("s.t", false)),
            ),
            (
                "ALTER TABLE ONLY s.t ADD CONSTRAINT c EXCLUDE USING gist (r WITH &&);",
                Some(("s.t", false)),
            ),
            (
                "ALTER TABLE ONLY s.t ADD CONSTRAINT c EXCLUDE USING gist (r WITH OPERATOR(app.&&));",
                Some(("s.t", true)),
            ),
            (
                "ALTER TABLE ONLY s.t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES s.u(a);",
                None,
            ),
            ("ALTER TABLE ONLY s.t ADD CONSTRAINT c NOT NULL a;", None),
            ("ALTER INDEX s.i ATTACH PARTITION s.j;", None),
            ("CREATE INDEX i ON t USING btree (a);", None),
        ] {
            let expected = expected.map(|(table, calls)| (table.to_owned(), calls));
            assert_eq!(on(sql), expected, "{sql}");
        }
        let table = ("s".into(), "t".into());
        assert!(follows_key(
            &tokens("ALTER TABLE s.t CLUSTER ON i;"),
            &table
        ));
        assert!(!follows_key(
            &tokens("ALTER TABLE s.u CLUSTER ON i;"),
            &table
        ));
        assert!(!follows_key(&tokens("DROP TABLE s.t;"), &table));
    }
}
