//! The first tokens of a statement: what it is about. Bounded, because a statement may be of any
//! size; only COPY needs all of its tokens. No lexing here: `lex` fills this.

/// Tokens kept of a statement other than COPY.
const MAX_TOKENS: usize = 96;
/// Bytes kept of a statement other than COPY.
const MAX_BYTES: usize = 16 * 1024;
/// Tokens kept of a COPY line: 1,600 columns take 3,200.
const MAX_COPY_TOKENS: usize = 8 * 1024;
/// Bytes kept of a COPY line.
const MAX_COPY_BYTES: usize = 1024 * 1024;

/// One token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Token {
    /// A keyword, a number, or a name that needed no quotes.
    Word(Vec<u8>),
    /// A name in double quotes, unquoted.
    Quoted(Vec<u8>),
    /// A string literal, as it stands between its quotes.
    Text(Vec<u8>),
    /// Any other byte.
    Sign(u8),
}

impl Token {
    /// Whether this is the keyword `word`, which is given in capitals.
    pub(crate) fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(text) if text.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// The name that this token is, if it can be one.
    pub(crate) fn name(&self) -> Option<&[u8]> {
        match self {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            Token::Text(_) | Token::Sign(_) => None,
        }
    }
}

/// The start of a statement.
#[derive(Clone, Default, Debug)]
pub(crate) struct Head {
    tokens: Vec<Token>,
    bytes: usize,
    truncated: bool,
}

/// What a `COPY … FROM stdin` line says.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct CopyTarget<'a> {
    pub(crate) schema: Option<&'a [u8]>,
    pub(crate) table: &'a [u8],
    pub(crate) columns: Vec<&'a [u8]>,
}

impl Head {
    /// The tokens that were kept.
    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Forgets everything, for the next statement.
    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.bytes = 0;
        self.truncated = false;
    }

    /// Whether another token would still be kept.
    pub(crate) fn open(&self) -> bool {
        !self.truncated
    }

    /// Keeps a token while there is room.
    pub(crate) fn push(&mut self, token: Token) {
        let bytes = match &token {
            Token::Word(text) | Token::Quoted(text) | Token::Text(text) => text.len(),
            Token::Sign(_) => 1,
        };
        let (max_tokens, max_bytes) = if self.is_copy() {
            (MAX_COPY_TOKENS, MAX_COPY_BYTES)
        } else {
            (MAX_TOKENS, MAX_BYTES)
        };
        if self.tokens.len() >= max_tokens || self.bytes + bytes > max_bytes {
            self.truncated = true;
        }
        if !self.truncated {
            self.bytes += bytes;
            self.tokens.push(token);
        }
    }

    /// Notes that a token was too long to be kept.
    pub(crate) fn truncate(&mut self) {
        self.truncated = true;
    }

    /// Whether the statement is a COPY.
    pub(crate) fn is_copy(&self) -> bool {
        self.tokens.first().is_some_and(|first| first.is("COPY"))
    }

    /// Whether the statement creates a function or procedure, whose body may be `BEGIN ATOMIC … END`.
    pub(crate) fn creates_routine(&self) -> bool {
        self.tokens.first().is_some_and(|first| first.is("CREATE"))
            && self.tokens[1..]
                .iter()
                .take(3)
                .any(|token| token.is("FUNCTION") || token.is("PROCEDURE"))
    }

    /// The parts of `COPY [schema.]table [(columns)] FROM stdin`, and of nothing else.
    pub(crate) fn copy_target(&self) -> Option<CopyTarget<'_>> {
        if self.truncated || !self.is_copy() {
            return None;
        }
        let (schema, table, rest) = match self.tokens.get(1..)? {
            [schema, Token::Sign(b'.'), table, rest @ ..] => {
                (Some(schema.name()?), table.name()?, rest)
            }
            [table, rest @ ..] => (None, table.name()?, rest),
            [] => return None,
        };
        let (columns, rest) = match rest {
            [Token::Sign(b'('), rest @ ..] => {
                let end = rest.iter().position(|t| *t == Token::Sign(b')'))?;
                (comma_separated(&rest[..end])?, &rest[end + 1..])
            }
            rest => (Vec::new(), rest),
        };
        match rest {
            [from, stdin] if from.is("FROM") && stdin.is("STDIN") => Some(CopyTarget {
                schema,
                table,
                columns,
            }),
            _ => None,
        }
    }

    /// `(setting, value)` of `SET setting = value`, where the value is a literal or one word.
    pub(crate) fn setting(&self) -> Option<(&[u8], &[u8])> {
        match self.tokens.as_slice() {
            [set, name, Token::Sign(b'='), value] if set.is("SET") => match value {
                Token::Text(value) | Token::Word(value) | Token::Quoted(value) => {
                    Some((name.name()?, value))
                }
                Token::Sign(_) => None,
            },
            _ => None,
        }
    }

    /// The new owner in `ALTER … OWNER TO owner`.
    pub(crate) fn owner(&self) -> Option<&[u8]> {
        match self.tokens.as_slice() {
            [alter, .., owner, to, name]
                if !self.truncated && alter.is("ALTER") && owner.is("OWNER") && to.is("TO") =>
            {
                name.name()
            }
            _ => None,
        }
    }

    /// What a statement of the globals or a setting is about: the role, tablespace, database or
    /// parameter; for a membership the role that was granted. Empty when that is not known.
    pub(crate) fn subject(&self) -> &[u8] {
        let Some(first) = self.tokens.first() else {
            return b"";
        };
        let subject = if first.is("SELECT") {
            self.tokens.iter().find_map(|token| match token {
                Token::Text(text) => Some(&text[..]),
                _ => None,
            })
        } else {
            const KINDS: [&str; 5] = ["ROLE", "USER", "DATABASE", "TABLESPACE", "PARAMETER"];
            // COMMENT ON and GRANT … ON name their object behind the ON.
            let on = self.tokens.iter().take(MAX_TOKENS).position(|t| t.is("ON"));
            self.tokens
                .iter()
                .skip(on.unwrap_or(0) + 1)
                .find(|token| !KINDS.iter().any(|kind| token.is(kind)))
                .and_then(Token::name)
        };
        subject.unwrap_or_default()
    }
}

fn comma_separated(tokens: &[Token]) -> Option<Vec<&[u8]>> {
    tokens
        .split(|token| *token == Token::Sign(b','))
        .map(|column| match column {
            [column] => column.name(),
            _ => None,
        })
        .collect()
}
