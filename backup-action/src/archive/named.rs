//! What statements of a dump name besides their own object: roles, and what a statement of the
//! globals does. Pure; by the tokens of statements that were read again.

use super::index::Name;
use super::statements::Statement;
use super::token::Token;
use std::collections::BTreeSet;

/// What a statement of the globals does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Global {
    /// `CREATE ROLE`.
    CreateRole(Name),
    /// `ALTER ROLE … WITH`, with whether it makes a superuser.
    RoleOptions {
        /// The role.
        role: Name,
        /// `SUPERUSER`.
        superuser: bool,
    },
    /// `ALTER ROLE … SET`, `COMMENT ON ROLE`, `SECURITY LABEL ON ROLE`.
    OfRole(Name),
    /// `GRANT role TO member`.
    Membership {
        /// What is granted.
        role: Name,
        /// To whom.
        member: Name,
        /// By whom, where the dump says it.
        grantor: Option<Name>,
    },
    /// `CREATE TABLESPACE`, or a statement about one.
    Tablespace(Name),
    /// Anything else.
    Other,
}

/// Reads a statement of the globals.
pub fn global(statement: &Statement) -> Global {
    let tokens = &statement.tokens[..];
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(word));
    let name = |at: usize| tokens.get(at).and_then(Token::name).map(Name::from);
    let found = if is(0, "CREATE") && (is(1, "ROLE") || is(1, "USER")) {
        name(2).map(Global::CreateRole)
    } else if is(0, "ALTER") && (is(1, "ROLE") || is(1, "USER")) && is(3, "WITH") {
        name(2).map(|role| Global::RoleOptions {
            role,
            superuser: tokens.iter().any(|token| token.is("SUPERUSER")),
        })
    } else if is(0, "ALTER") && (is(1, "ROLE") || is(1, "USER")) {
        name(2).map(Global::OfRole)
    } else if is(0, "COMMENT") && is(2, "ROLE") {
        name(3).map(Global::OfRole)
    } else if is(0, "SECURITY") {
        on(tokens, "ROLE").map(Global::OfRole)
    } else if is(0, "GRANT") && is(2, "TO") {
        name(1)
            .zip(name(3))
            .map(|(role, member)| Global::Membership {
                role,
                member,
                grantor: behind(tokens, &["GRANTED", "BY"]).into_iter().next(),
            })
    } else if (is(0, "CREATE") || is(0, "ALTER")) && is(1, "TABLESPACE") {
        name(2).map(Global::Tablespace)
    } else {
        on(tokens, "TABLESPACE").map(Global::Tablespace)
    };
    found.unwrap_or(Global::Other)
}

/// The object of `… ON kind name`.
fn on(tokens: &[Token], kind: &str) -> Option<Name> {
    let at = tokens
        .windows(2)
        .position(|pair| pair[0].is("ON") && pair[1].is(kind))?;
    tokens.get(at + 2)?.name().map(Name::from)
}

/// The statement without its `GRANTED BY`, so that whoever runs it is the grantor.
pub fn without_grantor(statement: &Statement) -> Vec<u8> {
    let words = b" GRANTED BY ";
    // It is the last clause, and a name that holds these words ends behind them in a quote.
    match memchr::memmem::rfind(&statement.bytes, words) {
        Some(at) if !behind(&statement.tokens, &["GRANTED", "BY"]).is_empty() => {
            [&statement.bytes[..at], b";"].concat()
        }
        Some(_) | None => statement.bytes.clone(),
    }
}

/// The roles that a statement needs besides the owner of its object: who is granted something and
/// by whom, whom a policy or a user mapping is for, whose default privileges change, new owners.
pub fn roles(statement: &Statement) -> BTreeSet<Name> {
    let tokens = &statement.tokens[..];
    let starts = |words: &[&str]| {
        words.len() <= tokens.len() && words.iter().zip(tokens).all(|(word, token)| token.is(word))
    };
    let mut found = BTreeSet::new();
    if starts(&["GRANT"]) || starts(&["REVOKE"]) || starts(&["ALTER", "DEFAULT", "PRIVILEGES"]) {
        found.extend(behind(tokens, &["TO"]));
        found.extend(behind(tokens, &["FROM"]));
        found.extend(behind(tokens, &["GRANTED", "BY"]));
        found.extend(behind(tokens, &["FOR", "ROLE"]));
    } else if starts(&["CREATE", "POLICY"]) {
        found.extend(behind(tokens, &["TO"]));
    } else if starts(&["CREATE", "USER", "MAPPING"]) {
        found.extend(behind(tokens, &["FOR"]));
    } else if starts(&["SET", "SESSION", "AUTHORIZATION"]) {
        found.extend(tokens.get(3).and_then(|token| match token {
            Token::Text(name) => Some(Name::from(&name[..])),
            other => other.name().map(Name::from),
        }));
    } else if starts(&["ALTER", "ROLE"]) {
        found.extend(tokens.get(2).and_then(Token::name).map(Name::from));
    }
    found.extend(behind(tokens, &["OWNER", "TO"]));
    found
}

/// The database that `CREATE DATABASE … TABLESPACE = name` or `SET default_tablespace = name` needs.
pub fn tablespace(statement: &Statement) -> Option<Name> {
    let tokens = &statement.tokens;
    let at = tokens
        .iter()
        .position(|token| token.is("TABLESPACE") || token.is("default_tablespace"))?;
    let rest = tokens.get(at + 1..)?.iter();
    let value = rest
        .skip_while(|token| **token == Token::Sign(b'='))
        .next()?;
    match value {
        Token::Text(name) => Some(Name::from(&name[..])),
        other => other.name().map(Name::from),
    }
    .filter(|name| !name.as_bytes().is_empty())
}

/// The names, separated by commas, behind the last `words` outside of parentheses.
fn behind(tokens: &[Token], words: &[&str]) -> Vec<Name> {
    let mut depth = 0_u32;
    let mut from = None;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign(b'(') => depth += 1,
            Token::Sign(b')') => depth = depth.saturating_sub(1),
            _ if depth == 0
                && tokens.len() >= at + words.len()
                && words
                    .iter()
                    .zip(&tokens[at..])
                    .all(|(word, token)| token.is(word)) =>
            {
                from = Some(at + words.len());
                // A policy's expression may hold anything.
                if words == ["TO"] && tokens[0].is("CREATE") {
                    break;
                }
            }
            _ => {}
        }
    }
    let Some(from) = from else { return Vec::new() };
    let mut found = Vec::new();
    let mut rest = tokens[from..].iter();
    while let Some(token) = rest.next() {
        found.extend(role(token));
        if rest.next() != Some(&Token::Sign(b',')) {
            break;
        }
    }
    found
}

/// A role, unless it is one that every server has.
fn role(token: &Token) -> Option<Name> {
    const EVERYWHERE: [&str; 4] = ["PUBLIC", "CURRENT_USER", "SESSION_USER", "CURRENT_ROLE"];
    let everywhere = EVERYWHERE.iter().any(|word| token.is(word));
    token.name().filter(|_| !everywhere).map(Name::from)
}
