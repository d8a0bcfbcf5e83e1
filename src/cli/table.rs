//! Tables on a terminal.

/// Lays out a table; columns for which `right` holds stand right, so that their digits line up.
pub(super) fn table<Row: AsRef<[String]>>(rows: &[Row], right: impl Fn(usize) -> bool) -> String {
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.as_ref().iter().enumerate() {
            let widths = rows.iter().map(|row| row.as_ref()[column].chars().count());
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
