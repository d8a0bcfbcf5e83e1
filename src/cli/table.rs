//! Tables on a terminal.

/// Lays out a table; columns for which `right` holds stand right, so that their digits line up.
pub(super) fn table<const COLUMNS: usize>(
    rows: &[[String; COLUMNS]],
    right: impl Fn(usize) -> bool,
) -> String {
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let widths = rows.iter().map(|row| row[column].chars().count());
            let width = widths.max().unwrap_or(0);
            line += &match right(column) {
                true => format!("{cell:>width$}  "),
                false => format!("{cell:<width$}  "),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
