//! pg_dump's TOC comment, `-- Name: …; Type: …; Schema: …; Owner: …`. Names in it are neither quoted
//! nor exact (newlines became spaces), so the statement behind it decides what they are.

use super::token::Token;

/// More ways to split one comment than a name of any length pg_dump writes can have.
const MAX_SPLITS: usize = 512;

/// Longer than the comment of a function with 100 arguments of the longest types.
const MAX_BYTES: usize = 64 * 1024;

/// A TOC comment whose names are not yet decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TocComment {
    /// The text behind `Name: `.
    text: Vec<u8>,
}

/// A TOC comment whose names are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Toc {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: String,
    pub(crate) schema: Option<Vec<u8>>,
    pub(crate) owner: Option<Vec<u8>>,
}

#[derive(Clone, Copy)]
struct Split<'a> {
    name: &'a [u8],
    kind: &'a [u8],
    schema: &'a [u8],
    owner: &'a [u8],
}

impl TocComment {
    /// Reads one comment line, without its newline; `None` for any other comment.
    pub(crate) fn parse(line: &[u8]) -> Option<TocComment> {
        let line = line.strip_prefix(b"-- ")?;
        // "Data for" and "Statistics for" stand before the same fields.
        let text = [&b"Name: "[..], b"Data for Name: ", b"Statistics for Name: "]
            .iter()
            .find_map(|prefix| line.strip_prefix(*prefix))?;
        let fits = text.len() <= MAX_BYTES && splits(text).next().is_some();
        fits.then(|| TocComment {
            text: text.to_vec(),
        })
    }

    /// Decides the names by the first tokens of the entry's first statement: the split that agrees
    /// with them best, and of equal ones the rightmost.
    pub(crate) fn resolve(&self, tokens: &[Token]) -> Option<Toc> {
        let best = splits(&self.text)
            .take(MAX_SPLITS)
            .max_by_key(|split| agreement(split, tokens))?;
        Some(Toc {
            schema: exact_schema(best.schema, tokens),
            name: exact_name(best.name, best.schema, tokens),
            kind: String::from_utf8_lossy(best.kind).into_owned(),
            owner: Some(best.owner)
                .filter(|owner| *owner != b"-")
                .map(<[u8]>::to_vec),
        })
    }
}

/// Every way to read `text` as `NAME; Type: TYPE; Schema: SCHEMA; Owner: OWNER[; Tablespace: …]`.
fn splits(text: &[u8]) -> impl Iterator<Item = Split<'_>> {
    memchr::memmem::find_iter(text, b"; Type: ").flat_map(move |type_at| {
        let kind_on = &text[type_at + 8..];
        let is_kind = |b: &u8| b.is_ascii_uppercase() || *b == b' ';
        let kind_len = kind_on
            .iter()
            .position(|b| !is_kind(b))
            .unwrap_or(kind_on.len());
        let (kind, rest) = kind_on.split_at(kind_len);
        let schema_on = rest
            .strip_prefix(b"; Schema: ")
            .filter(|_| !kind.is_empty())
            .unwrap_or_default();
        memchr::memmem::find_iter(schema_on, b"; Owner: ").map(move |owner_at| {
            let owner = &schema_on[owner_at + 9..];
            let owner_len = memchr::memmem::rfind(owner, b"; Tablespace: ").unwrap_or(owner.len());
            Split {
                name: &text[..type_at],
                kind,
                schema: &schema_on[..owner_at],
                owner: &owner[..owner_len],
            }
        })
    })
}

/// How well a split agrees with the statement behind the comment.
fn agreement(split: &Split<'_>, tokens: &[Token]) -> u32 {
    let mut score = 0;
    if names(tokens).any(|name| sanitized(name) == split.schema) {
        score += 4;
    }
    score += names(tokens)
        .map(|name| likeness(split.name, &sanitized(name)))
        .max()
        .unwrap_or(0);
    let mut kind_words = split.kind.split(|b| *b == b' ');
    let is_keyword = |word: &[u8]| {
        tokens
            .iter()
            .any(|token| matches!(token, Token::Word(text) if text == word))
    };
    if kind_words.any(is_keyword) || split.kind == b"TABLE DATA" && is_keyword(b"COPY") {
        score += 2;
    }
    score
}

/// How much `name` of a comment looks like the tag of an object that is called `identifier`.
fn likeness(name: &[u8], identifier: &[u8]) -> u32 {
    match () {
        () if identifier.is_empty() => 0,
        () if name == identifier => 4,
        // A function: `name(types)`.
        () if name
            .strip_prefix(identifier)
            .is_some_and(|rest| rest.starts_with(b"(")) =>
        {
            3
        }
        // A constraint, trigger, rule or policy: `table name`.
        () if name
            .strip_suffix(identifier)
            .is_some_and(|rest| rest.ends_with(b" ")) =>
        {
            2
        }
        // A comment or privilege: `TABLE "name"`, `COLUMN t."name"`.
        () if name.strip_suffix(&quoted(identifier)[..]).is_some() => 2,
        () => 0,
    }
}

/// The schema as the statement spells it.
fn exact_schema(schema: &[u8], tokens: &[Token]) -> Option<Vec<u8>> {
    if schema == b"-" {
        // pg_dump's sign for "none", or a schema of that name.
        let qualifier = tokens
            .windows(2)
            .find(|pair| pair[1] == Token::Sign(b'.'))
            .map(|pair| &pair[0]);
        return (qualifier == Some(&Token::Quoted(b"-".to_vec()))).then(|| schema.to_vec());
    }
    let exact = names(tokens).find(|name| sanitized(name) == schema);
    Some(exact.unwrap_or(schema).to_vec())
}

/// The name with the newlines that the comment had to drop.
fn exact_name(name: &[u8], schema: &[u8], tokens: &[Token]) -> Vec<u8> {
    // The object's own name stands behind its schema's, which may be the same.
    let after_schema = tokens
        .iter()
        .position(|token| token.name().is_some_and(|name| sanitized(name) == schema))
        .map_or(0, |at| at + 1);
    if let Some(exact) = names(&tokens[after_schema..]).find(|exact| sanitized(exact) == name) {
        return exact.to_vec();
    }
    let mut broken: Vec<&[u8]> = names(tokens).filter(|name| has_newline(name)).collect();
    broken.sort_by_key(|name| std::cmp::Reverse(name.len()));
    broken.dedup();
    broken.into_iter().fold(name.to_vec(), |text, exact| {
        let in_quotes = quoted(exact);
        let text = replace(&text, &sanitized(&in_quotes), &in_quotes);
        replace(&text, &sanitized(exact), exact)
    })
}

fn names(tokens: &[Token]) -> impl Iterator<Item = &[u8]> {
    tokens.iter().filter_map(Token::name)
}

fn has_newline(name: &[u8]) -> bool {
    name.iter().any(|b| matches!(b, b'\n' | b'\r'))
}

/// What pg_dump's `sanitize_line` makes of a name.
fn sanitized(name: &[u8]) -> Vec<u8> {
    name.iter()
        .map(|b| match b {
            b'\n' | b'\r' => b' ',
            other => *other,
        })
        .collect()
}

/// The name in double quotes.
fn quoted(name: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in name {
        text.push(*byte);
        if *byte == b'"' {
            text.push(b'"');
        }
    }
    text.push(b'"');
    text
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut done = 0;
    for at in memchr::memmem::find_iter(text, from) {
        out.extend_from_slice(&text[done..at]);
        out.extend_from_slice(to);
        done = at + from.len();
    }
    out.extend_from_slice(&text[done..]);
    out
}
