//! A table in plain text. Markdown's shape, so that it can be pasted.

/// Renders rows under `header`; columns whose header starts with `>` are aligned right.
pub(crate) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let right: Vec<bool> = header.iter().map(|h| h.starts_with('>')).collect();
    let header: Vec<String> = header
        .iter()
        .map(|h| h.trim_start_matches('>').to_owned())
        .collect();
    let width = |column: usize| {
        std::iter::once(&header)
            .chain(rows)
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::from("|");
        for ((cell, width), right) in row.iter().zip(&widths).zip(&right) {
            let width = *width;
            line += &if *right {
                format!(" {cell:>width$} |")
            } else {
                format!(" {cell:<width$} |")
            };
        }
        line + "\n"
    };
    let mut text = line(&header);
    text.push('|');
    for (width, right) in widths.iter().zip(&right) {
        text += &"-".repeat(width + 1);
        text += if *right { ":|" } else { "-|" };
    }
    text.push('\n');
    rows.iter().for_each(|row| text += &line(row));
    text
}

/// `12.3 s`, or `3 min 05 s`.
pub(crate) fn seconds(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else {
        format!(
            "{} min {:02} s",
            duration.as_secs() / 60,
            duration.as_secs() % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["Núñez".to_owned(), "5".to_owned()],
            vec!["a".to_owned(), "1234".to_owned()],
        ];
        let expected = "| who   |    n |\n|-------|-----:|\n| Núñez |    5 |\n| a     | 1234 |\n";
        assert_eq!(render(&["who", ">n"], &rows), expected);
    }
}
