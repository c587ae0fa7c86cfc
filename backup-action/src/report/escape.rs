//! Makes hostile text harmless, by the kind of place it goes to: a terminal or log, Markdown, HTML,
//! Slack, a shell command, the data or a property of a workflow command. Names, messages of servers and
//! evidence are hostile. Text stays readable: what could act is shown instead.

/// The longest name, key or address that is shown, in characters.
pub const MAX_NAME_CHARS: usize = 300;

/// The longest evidence, message or hint that is shown, in characters.
pub const MAX_TEXT_CHARS: usize = 2_000;

/// `text` on one line, with everything that is invisible or steers a terminal written out: controls
/// and ANSI escapes as `\n`, `\u{1b}`, likewise bidirectional and zero-width characters. A backslash
/// stays as it is, so the form is for reading, not for parsing back.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_invisible(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// [`visible`], and nothing that a CI runner reads as a command: `##[` anywhere, `::` at the start
/// of a word (where wrapping may put it at the start of a line) get a backslash in between.
pub fn terminal(text: &str) -> String {
    let text = visible(text).replace("##[", "##\\[");
    let mut out = String::with_capacity(text.len());
    let mut at_word_start = true;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if at_word_start && c == ':' && rest.peek() == Some(&':') {
            out.push('\\');
        }
        at_word_start = c.is_whitespace();
        out.push(c);
    }
    out
}

/// Running text in Markdown, in a table cell as well: no emphasis, link, mention, reference, HTML,
/// cell or line break comes out of it. Not for the start of a line.
pub fn markdown(text: &str) -> String {
    let text = terminal(text);
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // Mentions and references are made from the rendered text, so an entity does not help;
            // a comment splits the text.
            '@' => out.push_str("@<!-- -->"),
            '#' if rest.peek().is_some_and(char::is_ascii_alphanumeric) => {
                out.push_str("#<!-- -->");
            }
            // Bare addresses become links.
            ':' if rest.peek() == Some(&'/') => out.push_str("&#58;"),
            '.' if out.ends_with("www") || out.ends_with("WWW") => out.push_str("&#46;"),
            // Inside a word an underscore is no emphasis, and names are full of them.
            '_' if out.ends_with(char::is_alphanumeric)
                && rest.peek().is_some_and(|next| next.is_alphanumeric()) =>
            {
                out.push('_');
            }
            '&' | '<' | '>' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '|' | '$' | '!' => {
                push_entity(&mut out, c);
            }
            c => out.push(c),
        }
    }
    out
}

/// [`markdown`] for our own sentences, which may mark commands and names with backticks: where those
/// pair up, what is between them is code.
pub fn markdown_prose(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    let paired = parts.len() % 2 == 1 && parts.iter().skip(1).step_by(2).all(|p| !p.is_empty());
    if !paired {
        return markdown(text);
    }
    let mut out = String::new();
    for (i, part) in parts.into_iter().enumerate() {
        if i % 2 == 0 {
            out.push_str(&markdown(part));
        } else {
            out.push_str(&markdown_code(part));
        }
    }
    out
}

/// A name in Markdown, as code, in a table cell as well: backticks where they are enough, else
/// `<code>` with every character that means anything as an entity.
pub fn markdown_code(text: &str) -> String {
    let text = terminal(text);
    let plain = !text.is_empty()
        && !text.contains(['`', '|', '\\'])
        && !text.starts_with(' ')
        && !text.ends_with(' ');
    if plain {
        return format!("`{text}`");
    }
    let mut out = String::from("<code>");
    for c in text.chars() {
        if c.is_alphanumeric() || " -./=,%+".contains(c) {
            out.push(c);
        } else {
            push_entity(&mut out, c);
        }
    }
    out.push_str("</code>");
    out
}

/// Lines of code in Markdown, fenced by more backticks than any run inside. Lines stay lines; all
/// else that is invisible is written out.
pub fn markdown_block(language: &str, text: &str) -> String {
    let mut longest = 2;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let lines: Vec<_> = text.lines().map(visible).collect();
    format!("{fence}{language}\n{}\n{fence}\n", lines.join("\n"))
}

/// Text in HTML, between tags or in a quoted attribute.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Running text in Slack's mrkdwn, at most `max_units` UTF-16 units long: no mention, link or entity
/// comes out of it, and none is cut. The markers of bold and code stay; Slack has no escape for them.
pub fn slack(text: &str, max_units: usize) -> String {
    let mut out = String::new();
    let mut units = 0;
    for c in visible(text).chars() {
        let mut plain = [0; 4];
        let piece = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            c => c.encode_utf8(&mut plain),
        };
        units += piece.encode_utf16().count();
        if units > max_units {
            // Room for the mark.
            while out.encode_utf16().count() >= max_units {
                let entity = ["&amp;", "&lt;", "&gt;"];
                match entity.iter().find(|entity| out.ends_with(**entity)) {
                    Some(entity) => out.truncate(out.len() - entity.len()),
                    None => drop(out.pop()),
                }
            }
            out.push('…');
            break;
        }
        out.push_str(piece);
    }
    out
}

/// One word of a POSIX shell command to be copied. Text that holds invisible characters comes back
/// as it is shown, since nobody can copy those.
pub fn shell_word(text: &str) -> String {
    let text = visible(text);
    let safe = !text.is_empty()
        && !text.starts_with('~')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./:=%+,@~".contains(&b));
    if safe {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// The data of a workflow command, as the runner's `ActionCommand.cs` decodes it.
pub fn command_data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property of a workflow command, as the runner's `ActionCommand.cs` decodes it.
pub fn command_property(text: &str) -> String {
    command_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// At most `max_chars` characters; what is cut shows as `…`.
pub fn shorten(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        None => text.to_owned(),
        Some(_) => {
            let mut out: String = text.chars().take(max_chars.saturating_sub(1)).collect();
            out.push('…');
            out
        }
    }
}

fn push_entity(out: &mut String, c: char) {
    out.push_str(&format!("&#{};", u32::from(c)));
}

/// Whether a character is a control, or takes part in what is seen without being seen itself.
pub(super) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_are_shown_and_inert() {
        let names = [
            "plain_name",
            "",
            " a ",
            "a|b`c``d",
            "<script>alert(1)</script></details>",
            "@team #12 https://x.example www.x.example *b* $1$",
            "x\n::error::forged ##[error]forged",
            "\u{1b}[31mred\u{202e}gnp\u{200b}",
            "it's & \"q\" \\ ~",
        ];
        let mut shown = String::new();
        for name in names {
            for (kind, escaped) in [
                ("terminal", terminal(name)),
                ("markdown", markdown(name)),
                ("code    ", markdown_code(name)),
                ("html    ", html(name)),
                ("shell   ", shell_word(name)),
            ] {
                shown.push_str(&format!("{kind} {escaped}\n"));
            }
            shown.push('\n');
        }
        expect![[r#"
            terminal plain_name
            markdown plain_name
            code     `plain_name`
            html     plain_name
            shell    plain_name

            terminal 
            markdown 
            code     <code></code>
            html     
            shell    ''

            terminal  a 
            markdown  a 
            code     <code> a </code>
            html      a 
            shell    ' a '

            terminal a|b`c``d
            markdown a&#124;b&#96;c&#96;&#96;d
            code     <code>a&#124;b&#96;c&#96;&#96;d</code>
            html     a|b`c``d
            shell    'a|b`c``d'

            terminal <script>alert(1)</script></details>
            markdown &#60;script&#62;alert(1)&#60;/script&#62;&#60;/details&#62;
            code     `<script>alert(1)</script></details>`
            html     &lt;script&gt;alert(1)&lt;/script&gt;&lt;/details&gt;
            shell    '<script>alert(1)</script></details>'

            terminal @team #12 https://x.example www.x.example *b* $1$
            markdown @<!-- -->team #<!-- -->12 https&#58;//x.example www&#46;x.example &#42;b&#42; &#36;1&#36;
            code     `@team #12 https://x.example www.x.example *b* $1$`
            html     @team #12 https://x.example www.x.example *b* $1$
            shell    '@team #12 https://x.example www.x.example *b* $1$'

            terminal x\n::error::forged ##\[error]forged
            markdown x&#92;n::error::forged ##&#92;&#91;error&#93;forged
            code     <code>x&#92;n&#58;&#58;error&#58;&#58;forged &#35;&#35;&#92;&#91;error&#93;forged</code>
            html     x\n::error::forged ##[error]forged
            shell    'x\n::error::forged ##[error]forged'

            terminal \u{1b}[31mred\u{202e}gnp\u{200b}
            markdown &#92;u{1b}&#91;31mred&#92;u{202e}gnp&#92;u{200b}
            code     <code>&#92;u&#123;1b&#125;&#91;31mred&#92;u&#123;202e&#125;gnp&#92;u&#123;200b&#125;</code>
            html     \u{1b}[31mred\u{202e}gnp\u{200b}
            shell    '\u{1b}[31mred\u{202e}gnp\u{200b}'

            terminal it's & "q" \ ~
            markdown it's &#38; "q" &#92; &#126;
            code     <code>it&#39;s &#38; &#34;q&#34; &#92; &#126;</code>
            html     it&#39;s &amp; &quot;q&quot; \ ~
            shell    'it'\''s & "q" \ ~'

        "#]].assert_eq(&shown);
    }

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        expect![[r#"
            ````sh
            a ``` b
            \u{1b}[0m
            ````
        "#]]
        .assert_eq(&markdown_block("sh", "a ``` b\n\u{1b}[0m"));
    }

    #[test]
    fn shortening_counts_characters() {
        assert_eq!(shorten("äöü", 3), "äöü");
        assert_eq!(shorten("äöüß", 3), "äö…");
        assert_eq!(shorten("ä", 0), "…");
    }

    #[test]
    fn slack_sees_no_mention_and_no_half_of_an_entity() {
        assert_eq!(
            slack("<!channel> & <@U1>\n\u{202e}", 99),
            "&lt;!channel&gt; &amp; &lt;@U1&gt;\\n\\u{202e}"
        );
        assert_eq!(slack("a<b", 6), "a&lt;b");
        assert_eq!(slack("a<bc", 6), "a&lt;…");
        assert_eq!(slack("a<bc", 5), "a…");
        assert_eq!(slack("😀😀", 3), "😀…");
    }

    #[test]
    fn prose_keeps_its_code_and_nothing_else() {
        assert_eq!(
            markdown_prose("Run `dmesg` as *root*."),
            "Run `dmesg` as &#42;root&#42;."
        );
        assert_eq!(markdown_prose("a ` b"), "a &#96; b");
        assert_eq!(markdown_prose("`` <b>"), "&#96;&#96; &#60;b&#62;");
        assert_eq!(markdown_prose("in `a|b`"), "in <code>a&#124;b</code>");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_text_acts_in_a_log(text in "(::|##\\[|\\]|[a-z \r\n\t\u{2003}\u{85}:#]){0,24}") {
            let shown = terminal(&text);
            prop_assert!(!shown.contains("##["));
            prop_assert!(!shown.contains(['\n', '\r']));
            // However a line is wrapped, no piece of it starts a command.
            for (at, _) in shown.match_indices(char::is_whitespace) {
                prop_assert!(!shown[at..].trim_start().starts_with("::"));
            }
            prop_assert!(!shown.trim_start().starts_with("::"));
        }

        #[test]
        fn no_text_breaks_markdown(text in "\\PC{0,12}[|`<>&@*_\\[\\]\\\\\n]{0,8}\\PC{0,12}") {
            let cell = markdown(&text);
            let cell = cell.replace("<!-- -->", "");
            prop_assert!(!cell.contains(['|', '`', '<', '>', '*', '[', ']', '\\', '\n']));
            prop_assert!(!cell.starts_with('_') && !cell.ends_with('_'));
            let code = markdown_code(&text);
            let inner = code.strip_prefix('`').and_then(|c| c.strip_suffix('`'))
                .or_else(|| code.strip_prefix("<code>").and_then(|c| c.strip_suffix("</code>")))
                .expect("one of the two forms");
            prop_assert!(!inner.contains(['|', '`', '\n', '\\']));
        }
    }
}
