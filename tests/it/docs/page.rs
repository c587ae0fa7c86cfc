//! Reads a page of the documentation: its blocks of code, its headings, its links, and what it
//! asks of the tests. Nothing is run here.
//!
//! What a page may ask, in a comment that the reader does not see:
//!
//! - `<!-- doc-test: before: COMMAND -->` runs a command before the next block;
//! - `<!-- doc-test: exit N -->` says how the last command of the next block ends;
//! - `<!-- doc-test: not run: REASON -->` says why the next block cannot be run by a test. Every
//!   such block stands in a list of the tests as well.

use std::path::{Path, PathBuf};

/// A page of the documentation.
pub(super) struct Page {
    /// Its path below the root of the checkout.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The text without blocks of code.
    pub(super) prose: String,
    pub(super) blocks: Vec<Block>,
}

/// A fenced block.
#[derive(Debug)]
pub(super) struct Block {
    /// `console`, `yaml`, …; empty when the page names none.
    pub(super) language: String,
    /// Its first line in the page, counted from 1.
    pub(super) line: usize,
    pub(super) text: String,
    /// What the page asks for.
    pub(super) asks: Vec<Ask>,
}

/// What a page asks of the tests for one block.
#[derive(Debug)]
pub(super) enum Ask {
    Before(String),
    Exit(i32),
    NotRun(String),
}

/// A command of a `console` block, and what the page shows of its output.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Without the prompt; several lines when they end in a backslash.
    pub(super) command: String,
    /// Lines of its output, in order; `…` stands for anything.
    pub(super) output: Vec<String>,
}

impl Page {
    pub(super) fn read(root: &Path, name: &str) -> Page {
        let path = root.join(name);
        let text = std::fs::read_to_string(&path).expect("the page can be read");
        Page::parse(name, path, &text)
    }

    fn parse(name: &str, path: PathBuf, text: &str) -> Page {
        let mut page = Page {
            name: name.to_owned(),
            path,
            prose: String::new(),
            blocks: Vec::new(),
        };
        let mut asks = Vec::new();
        let mut open: Option<(Block, usize)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if let Some((mut block, margin)) = open.take() {
                if line.trim() == "```" {
                    page.blocks.push(block);
                } else {
                    block
                        .text
                        .push_str(line.get(margin.min(indent)..).unwrap_or_default());
                    block.text.push('\n');
                    open = Some((block, margin));
                }
            } else if let Some(language) = line.trim_start().strip_prefix("```") {
                let block = Block {
                    language: language.trim().to_owned(),
                    line: number + 1,
                    text: String::new(),
                    asks: std::mem::take(&mut asks),
                };
                open = Some((block, indent));
            } else if let Some(ask) = line.trim().strip_prefix("<!-- doc-test: ") {
                let ask = ask
                    .strip_suffix(" -->")
                    .expect("the comment ends in its line");
                asks.push(Ask::parse(ask));
            } else {
                assert!(
                    asks.is_empty() || line.trim().is_empty(),
                    "{name}:{}: a doc-test comment belongs before a block",
                    number + 1
                );
                page.prose.push_str(line);
                page.prose.push('\n');
            }
        }
        assert!(open.is_none(), "{name}: a block does not end");
        assert!(
            asks.is_empty(),
            "{name}: a doc-test comment without a block"
        );
        page
    }

    pub(super) fn console(&self) -> impl Iterator<Item = &Block> {
        self.blocks
            .iter()
            .filter(|block| block.language == "console")
    }

    /// The anchors of the headings, as GitHub makes them.
    pub(super) fn anchors(&self) -> Vec<String> {
        self.prose
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| anchor(line.trim_start_matches('#').trim()))
            .collect()
    }

    /// The targets of the links.
    pub(super) fn links(&self) -> Vec<String> {
        self.prose
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target.to_owned())
            .collect()
    }
}

impl Ask {
    fn parse(text: &str) -> Ask {
        if let Some(command) = text.strip_prefix("before: ") {
            Ask::Before(command.to_owned())
        } else if let Some(code) = text.strip_prefix("exit ") {
            Ask::Exit(code.parse().expect("an exit code"))
        } else if let Some(reason) = text.strip_prefix("not run: ") {
            Ask::NotRun(reason.to_owned())
        } else {
            panic!("no such request: {text}")
        }
    }
}

impl Block {
    /// Why it cannot be run.
    pub(super) fn not_run(&self) -> Option<&str> {
        self.asks.iter().find_map(|ask| match ask {
            Ask::NotRun(reason) => Some(reason.as_str()),
            Ask::Before(_) | Ask::Exit(_) => None,
        })
    }

    /// How its last command ends.
    pub(super) fn exit(&self) -> i32 {
        self.asks
            .iter()
            .find_map(|ask| match ask {
                Ask::Exit(code) => Some(*code),
                Ask::Before(_) | Ask::NotRun(_) => None,
            })
            .unwrap_or(0)
    }

    /// What is run before it.
    pub(super) fn before(&self) -> impl Iterator<Item = &str> {
        self.asks.iter().filter_map(|ask| match ask {
            Ask::Before(command) => Some(command.as_str()),
            Ask::Exit(_) | Ask::NotRun(_) => None,
        })
    }

    /// The commands of a `console` block.
    pub(super) fn commands(&self) -> Vec<Shown> {
        let mut shown: Vec<Shown> = Vec::new();
        let mut goes_on = false;
        for line in self.text.lines() {
            let last = shown.last_mut();
            if let Some(command) = line.strip_prefix("$ ") {
                goes_on = command.ends_with('\\');
                shown.push(Shown {
                    command: command.to_owned(),
                    output: Vec::new(),
                });
            } else if let (true, Some(last)) = (goes_on, last) {
                goes_on = line.ends_with('\\');
                last.command.push('\n');
                last.command.push_str(line);
            } else if let (false, Some(last)) = (line.trim().is_empty(), shown.last_mut()) {
                last.output.push(line.trim().to_owned());
            } else {
                assert!(line.trim().is_empty(), "output before a command: {line}");
            }
        }
        shown
    }
}

/// `## What "passed" means` is linked as `#what-passed-means`.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .flat_map(char::to_lowercase)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Whether `line` is what the page shows; `…` stands for anything.
pub(super) fn matches(shown: &str, line: &str) -> bool {
    // The screen has columns; a page need not.
    let one_space = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, line) = (one_space(shown), one_space(line));
    let mut parts = shown.split('…').map(str::trim);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.trim().is_empty() || last == Some("")
}

#[test]
fn a_page_is_read_as_people_read_it() {
    let text = "# A \"b\" `c`\n\n<!-- doc-test: exit 1 -->\n```console\n$ one \\\n      two\nshown … here\n\n$ three  # why\n```\nsee [x](y.md#z)\n";
    let page = Page::parse("x.md", PathBuf::new(), text);
    assert_eq!(page.anchors(), ["a-b-c"]);
    assert_eq!(page.links(), ["y.md#z"]);
    let block = page.console().next().expect("a block");
    assert_eq!((block.line, block.exit()), (4, 1));
    let commands = block.commands();
    assert_eq!(commands.len(), 2);
    assert_eq!(commands[0].command, "one \\\n      two");
    assert_eq!(commands[0].output, ["shown … here"]);
    assert!(matches("shown … here", "  shown this and that here"));
    assert!(!matches("shown … here", "shown this here not"));
    assert!(matches("shown …", "shown this here"));
    assert!(!matches("shown", "shown more"));
}
