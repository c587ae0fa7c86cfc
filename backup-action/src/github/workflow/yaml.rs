//! YAML as a tree whose nodes know where they stand. Refuses what GitHub refuses or nobody writes
//! by hand: keys that stand twice, several documents, deep nesting, aliases that multiply.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;
use std::fmt;

/// More than any workflow; GitHub itself takes less.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Aliases may make a small file large.
const MAX_NODES: usize = 50_000;

const MAX_DEPTH: usize = 60;

/// A place in a file; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A node and where it starts.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it starts.
    pub at: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A scalar; its text as YAML understands it.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug)]
pub struct Key {
    /// Where it stands.
    pub at: Place,
    /// Its text.
    pub text: String,
}

/// Why a file is not a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// Where it was noticed.
    pub at: Place,
    /// What is wrong, in a message's style.
    pub message: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.at.line, self.message)
    }
}

impl std::error::Error for YamlError {}

impl Node {
    /// The entry of a map.
    pub fn entry(&self, name: &str) -> Option<(&Key, &Node)> {
        self.entries()
            .iter()
            .find(|(key, _)| key.text == name)
            .map(|(key, node)| (key, node))
    }

    /// The value of a key of a map.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|(_, node)| node)
    }

    /// The entries of a map; none of anything else.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Scalar(_) | Kind::List(_) => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Scalar(_) | Kind::Map(_) => &[],
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text) => Some(text),
            Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// One word, or a list of words, each with its place.
    pub fn words(&self) -> Vec<(&str, Place)> {
        match &self.kind {
            Kind::Scalar(text) => vec![(text, self.at)],
            Kind::List(items) => items
                .iter()
                .filter_map(|item| item.text().map(|text| (text, item.at)))
                .collect(),
            Kind::Map(entries) => entries
                .iter()
                .map(|(key, _)| (key.text.as_str(), key.at))
                .collect(),
        }
    }

    /// Every scalar below, with its place.
    pub fn scalars(&self) -> Vec<(&str, Place)> {
        match &self.kind {
            Kind::Scalar(text) => vec![(text, self.at)],
            Kind::List(items) => items.iter().flat_map(Node::scalars).collect(),
            Kind::Map(entries) => entries
                .iter()
                .flat_map(|(_, node)| node.scalars())
                .collect(),
        }
    }

    fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(_) => 0,
            Kind::List(items) => items.iter().map(Node::size).sum(),
            Kind::Map(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
        }
    }
}

type Entries = Vec<(Key, Node)>;

/// A collection that is still open.
struct Open {
    at: Place,
    anchor: usize,
    items: Vec<Node>,
    /// For a map: its entries, and the key whose value comes next.
    map: Option<(Entries, Option<Key>)>,
}

/// Reads the one document of a file.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(bytes: &[u8]) -> Result<Node, YamlError> {
    let first = Place { line: 1, column: 1 };
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, more than {MAX_BYTES}", bytes.len());
        return Err(YamlError { at: first, message });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        YamlError {
            at: Place {
                line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
                column: 1,
            },
            message: "the file is not valid UTF-8".to_owned(),
        }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Builder::default().run(text)
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder {
    fn run(mut self, text: &str) -> Result<Node, YamlError> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| YamlError {
                at: Place {
                    line: error.marker().line(),
                    column: error.marker().col() + 1,
                },
                message: format!("not valid YAML: {}", error.info()),
            })?;
            let at = place(&span);
            match event {
                Event::DocumentStart(_) if self.root.is_some() => {
                    return Err(wrong(at, "the file has more than one document"));
                }
                Event::Scalar(text, style, anchor, _) => {
                    self.nodes += 1;
                    // An empty plain scalar is YAML's null, written as nothing or `~`.
                    let text = match (style, &*text) {
                        (ScalarStyle::Plain, "~" | "null") => String::new(),
                        (_, text) => text.to_owned(),
                    };
                    let kind = Kind::Scalar(text);
                    self.closed(Node { at, kind }, anchor)?;
                }
                Event::SequenceStart(anchor, _) => self.opened(at, anchor, false)?,
                Event::MappingStart(anchor, _) => self.opened(at, anchor, true)?,
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(open) = self.open.pop() {
                        let kind = match open.map {
                            Some((entries, _)) => Kind::Map(entries),
                            None => Kind::List(open.items),
                        };
                        self.closed(Node { at: open.at, kind }, open.anchor)?;
                    }
                }
                Event::Alias(anchor) => {
                    let node = self.anchors.get(&anchor).cloned();
                    let node = node.ok_or_else(|| wrong(at, "an alias inside its own anchor"))?;
                    self.nodes += node.size();
                    // A finding belongs where the text stands, so the copy keeps its places.
                    self.closed(node, 0)?;
                }
                Event::Nothing
                | Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(_)
                | Event::DocumentEnd => {}
            }
            if self.nodes > MAX_NODES {
                return Err(wrong(at, "the aliases make the file too large"));
            }
        }
        self.root
            .ok_or_else(|| wrong(Place { line: 1, column: 1 }, "the file is empty"))
    }

    fn opened(&mut self, at: Place, anchor: usize, is_map: bool) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.open.len() >= MAX_DEPTH {
            return Err(wrong(at, "the file is nested too deeply"));
        }
        self.open.push(Open {
            at,
            anchor,
            items: Vec::new(),
            map: is_map.then(|| (Vec::new(), None)),
        });
        Ok(())
    }

    /// A node is complete: it becomes a key, a value, an item or the root.
    fn closed(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        if anchor != 0 {
            self.nodes += node.size();
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let Some((entries, waiting)) = &mut open.map else {
            open.items.push(node);
            return Ok(());
        };
        if let Some(key) = waiting.take() {
            entries.push((key, node));
            return Ok(());
        }
        let Kind::Scalar(text) = node.kind else {
            return Err(wrong(node.at, "a key that is not a word"));
        };
        if let Some((first, _)) = entries.iter().find(|(key, _)| key.text == text) {
            let message = format!("key \"{text}\" stands here and in line {}", first.at.line);
            return Err(YamlError {
                at: node.at,
                message,
            });
        }
        *waiting = Some(Key { at: node.at, text });
        Ok(())
    }
}

fn place(span: &Span) -> Place {
    Place {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

fn wrong(at: Place, message: &str) -> YamlError {
    YamlError {
        at,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_where_they_stand() {
        for text in [
            "a: 1\nb:\n  - x\n  - {c: \"y\"}\n",
            "a: 1\r\nb:\r\n  - x\r\n  - {c: \"y\"}\r\n",
            "\u{feff}a: 1\nb:\n  - x\n  - {c: \"y\"}\n",
        ] {
            let root = parse(text.as_bytes()).unwrap();
            assert_eq!(root.get("a").unwrap().text(), Some("1"));
            let items = root.get("b").unwrap().items();
            assert_eq!(items[0].at, Place { line: 3, column: 5 });
            assert_eq!(items[1].get("c").unwrap().at, Place { line: 4, column: 9 });
        }
    }

    #[test]
    fn an_alias_is_what_its_anchor_is() {
        let root = parse(b"a: &x {k: v}\nb: *x\n").unwrap();
        assert_eq!(root.get("b").unwrap().get("k").unwrap().text(), Some("v"));
    }

    #[test]
    fn what_is_no_workflow_is_refused_with_its_line() {
        let laughs = {
            let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
            for level in 1..30 {
                let list = vec![format!("*a{}", level - 1); 10].join(", ");
                text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
            }
            text
        };
        let cases: &[(Vec<u8>, usize, &str)] = &[
            (b"".to_vec(), 1, "empty"),
            (
                b"a: 1\na: 2\n".to_vec(),
                2,
                "key \"a\" stands here and in line 1",
            ),
            (b"a: 1\n---\nb: 2\n".to_vec(), 2, "more than one document"),
            (b"a:\n\t- b\n".to_vec(), 2, "not valid YAML"),
            (b"a: [1\n".to_vec(), 2, "not valid YAML"),
            (b"a: b\nc: \xff\n".to_vec(), 2, "not valid UTF-8"),
            (b"\xff\xfea\0:\0 \0".to_vec(), 1, "not valid UTF-8"),
            ("[".repeat(100_000).into_bytes(), 1, "recursion limit"),
            (
                ("[".repeat(61) + &"]".repeat(61)).into_bytes(),
                1,
                "nested too deeply",
            ),
            (laughs.into_bytes(), 5, "aliases make the file too large"),
            (vec![b'#'; MAX_BYTES + 1], 1, "more than 1048576"),
            (b"? [a]\n: b\n".to_vec(), 1, "a key that is not a word"),
            (b"a: *nowhere\n".to_vec(), 1, "not valid YAML"),
            (b"a: &a [*a]\n".to_vec(), 1, ""),
        ];
        let mut wrong = Vec::new();
        for (bytes, line, message) in cases {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            let error = parse(bytes).expect_err(&shown);
            if !error.message.contains(message) || error.at.line != *line {
                wrong.push(format!("{shown:?}: {error}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
