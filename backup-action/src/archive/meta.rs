//! The psql meta-commands that pg_dumpall writes, one line at a time. Any other is refused: a dump
//! that could run one is not a dump.

/// A meta-command of a dump.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Meta {
    /// `\connect`, with the name of the database.
    Connect(Vec<u8>),
    /// `\encoding`, with the client encoding.
    Encoding(Vec<u8>),
    /// `\restrict`, with its key.
    Restrict(Vec<u8>),
    /// `\unrestrict`, with its key.
    Unrestrict(Vec<u8>),
}

impl Meta {
    /// The command word without its backslash.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Meta::Connect(_) => "connect",
            Meta::Encoding(_) => "encoding",
            Meta::Restrict(_) => "restrict",
            Meta::Unrestrict(_) => "unrestrict",
        }
    }
}

/// Reads a line that starts with a backslash, without its newline.
///
/// # Errors
/// What is wrong with the line, as a message without the line itself.
pub(crate) fn parse(line: &[u8]) -> Result<Meta, &'static str> {
    let (word, argument) = match line.iter().position(|b| *b == b' ') {
        Some(space) => (&line[..space], line[space..].trim_ascii()),
        None => (line, &b""[..]),
    };
    match word {
        b"\\connect" => connect(argument).map(Meta::Connect),
        b"\\encoding" => plain(argument).map(Meta::Encoding),
        b"\\restrict" => plain(argument).map(Meta::Restrict),
        b"\\unrestrict" => plain(argument).map(Meta::Unrestrict),
        _ => Err("meta-command that pg_dumpall does not write"),
    }
}

/// `name`, `"na""me"`, or `-reuse-previous=on "dbname='na\'me'"`: see `appendPsqlMetaConnect` in
/// PostgreSQL's `src/fe_utils/string_utils.c`.
fn connect(argument: &[u8]) -> Result<Vec<u8>, &'static str> {
    match argument.strip_prefix(b"-reuse-previous=on ") {
        Some(conninfo) => conninfo_dbname(&unquote(conninfo.trim_ascii())?),
        None => {
            let name = unquote(argument)?;
            if argument.first() != Some(&b'"') {
                plain(argument)?;
            }
            // psql would read such a name as connection parameters.
            if name.contains(&b'=') || name.starts_with(b"postgres") && name.contains(&b':') {
                return Err("\\connect with connection parameters");
            }
            Ok(name)
        }
    }
}

/// An argument in double quotes with `""` for each quote inside, or without quotes as it is.
fn unquote(argument: &[u8]) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "meta-command with a wrongly quoted argument";
    let Some(rest) = argument.strip_prefix(b"\"") else {
        return plain(argument);
    };
    let inner = rest.strip_suffix(b"\"").ok_or(WRONG)?;
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'"' && bytes.next() != Some(&b'"') {
            return Err(WRONG);
        }
        value.push(byte);
    }
    if value.is_empty() {
        return Err("meta-command with an empty argument");
    }
    Ok(value)
}

/// One word that psql takes as it stands.
fn plain(argument: &[u8]) -> Result<Vec<u8>, &'static str> {
    let special = |b: &u8| b.is_ascii_whitespace() || b"'\"\\`:$|".contains(b);
    match argument {
        b"" => Err("meta-command without its argument"),
        _ if argument.iter().any(special) => Err("meta-command with an unexpected argument"),
        word => Ok(word.to_vec()),
    }
}

/// The value of `dbname=value` or `dbname='va\'lue'`, and nothing beside it.
fn conninfo_dbname(conninfo: &[u8]) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "\\connect with connection parameters other than dbname";
    let value = conninfo.strip_prefix(b"dbname=").ok_or(WRONG)?;
    let Some(rest) = value.strip_prefix(b"'") else {
        return plain(value).map_err(|_| WRONG);
    };
    let inner = rest.strip_suffix(b"'").ok_or(WRONG)?;
    let mut name = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => name.push(*bytes.next().ok_or(WRONG)?),
            b'\'' => return Err(WRONG),
            other => name.push(other),
        }
    }
    if name.is_empty() {
        return Err(WRONG);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_connect_that_pg_dumpall_writes_gives_the_exact_name() {
        for (line, name) in [
            (r"\connect postgres", "postgres"),
            (r#"\connect "UPPER""#, "UPPER"),
            (r#"\connect -reuse-previous=on "dbname='-rf'""#, "-rf"),
            (
                r#"\connect -reuse-previous=on "dbname='we ird ""q"" = \'x\' \\ $$ ; é'""#,
                r#"we ird "q" = 'x' \ $$ ; é"#,
            ),
            (r#"\connect -reuse-previous=on "dbname='\\'""#, r"\"),
        ] {
            assert_eq!(
                parse(line.as_bytes()),
                Ok(Meta::Connect(name.as_bytes().to_vec())),
                "{line}"
            );
        }
    }

    #[test]
    fn whatever_else_could_reach_psql_is_refused() {
        for line in [
            r"\! rm -rf /",
            r"\i file",
            r"\copy x from program 'id'",
            r"\connect",
            r"\connect a b",
            r"\connect host=evil",
            r#"\connect "host=evil""#,
            r"\connect postgresql://evil/",
            r#"\connect "a" b"#,
            r#"\connect "a"b""#,
            r#"\connect -reuse-previous=on "host='x'""#,
            r#"\connect -reuse-previous=on "dbname='x' host='y'""#,
            r#"\connect -reuse-previous=on "dbname='x\'""#,
            r"\connect x\! id",
            r"\connect `id`",
            r"\connect :x",
            r"\connectx y",
            r"\restrict",
            r"\restrict a b",
            r"\encoding 'x'",
            r"\",
            r"\.",
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
