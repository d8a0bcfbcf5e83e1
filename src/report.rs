//! Reports: titles, text, tables and charts, as one HTML page or as Markdown.
//!
//! | module | what it holds |
//! |---|---|
//! | [`chart`] | charts as SVG: lines, points, bars, stacks |
//! | [`run`] | the report of one run, made from its run folder |
//! | [`comparison`] | the report of several runs |
//! | [`probes`] | what probes of a run found |
//!
//! Invariants: the page needs nothing but itself (styles and charts are inside, no script, no
//! address is loaded); it follows the reader's light or dark setting; whatever comes from outside
//! is escaped; SYNTHETIC and EMULATED stand out wherever they are said.
//!
//! It knows nothing of runs, except [`run`], [`comparison`] and [`probes`].

pub mod chart;
pub mod comparison;
pub(crate) mod labels;
pub mod probes;
pub mod run;
mod values;

use std::fmt::Write as _;

use mspipe_datasets::printable;

/// Styles of the page, light and dark.
const STYLE: &str = include_str!("report/page.css");

/// Tables with more columns have less room for each.
const DENSE_FROM: usize = 9;

/// Texts of more characters don't fit into a cell on one line beside others.
const LONG_CELL: usize = 40;

/// Words that say that a number is not what it could be taken for.
const WARNINGS: [&str; 2] = ["SYNTHETIC", "EMULATED"];

/// Words of a verdict, and how they look: well, open, or badly.
const VERDICTS: [(&str, &str); 4] = [
    ("ACCEPTED", "good"),
    ("UNFINISHED", "open"),
    ("INCOMPLETE", "open"),
    ("FAILED", "bad"),
];

/// A report.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// Title of the page.
    pub title: String,
    /// What stands before the sections.
    pub lead: Vec<Block>,
    /// The rest, one after the other.
    pub sections: Vec<Section>,
}

/// Part of a report.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its title.
    pub title: String,
    /// What it holds.
    pub blocks: Vec<Block>,
}

/// What a report is made of. In texts, `words` between backticks are code.
#[derive(Debug, Clone)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// A paragraph that stands out.
    Note(String),
    /// What a program said, line by line.
    Output(String),
    /// Names with their values.
    Facts(Vec<(String, String)>),
    /// A table.
    Table(Table),
    /// Charts, beside one another where there is room. Markdown has their titles and captions
    /// alone.
    Figures(Vec<Figure>),
    /// What is shown only to a reader who opens it: a title, and what it holds.
    Folded(String, Vec<Block>),
}

/// A table.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Its columns: a name, and whether they hold numbers, which stand on the right.
    pub columns: Vec<(String, bool)>,
    /// Rows, a text per column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table; `words` and then `numbers` are its columns.
    pub fn new(caption: &str, words: &[&str], numbers: &[&str]) -> Table {
        let column = |of_numbers: bool| move |name: &&str| ((*name).to_owned(), of_numbers);
        Table {
            caption: caption.to_owned(),
            columns: words
                .iter()
                .map(column(false))
                .chain(numbers.iter().map(column(true)))
                .collect(),
            rows: Vec::new(),
        }
    }
}

/// A chart with what it shows.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Its title, which the chart has too.
    pub title: String,
    /// What else there is to say of it; may be empty.
    pub caption: String,
    /// An SVG element.
    pub svg: String,
    /// Whether it takes the page's whole width.
    pub wide: bool,
}

impl Document {
    /// The page.
    pub fn to_html(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
            title = escape(&self.title)
        );
        self.lead.iter().for_each(|block| block.html(&mut page));
        if self.sections.len() > 2 {
            page.push_str("<nav>");
            for (number, section) in self.sections.iter().enumerate() {
                let title = inline(&section.title);
                // Writing to a string does not fail, here and below.
                let _ = write!(page, "<a href=\"#part-{number}\">{title}</a>");
            }
            page.push_str("</nav>\n");
        }
        for (number, section) in self.sections.iter().enumerate() {
            let title = inline(&section.title);
            let _ = writeln!(page, "<section id=\"part-{number}\">\n<h2>{title}</h2>");
            section
                .blocks
                .iter()
                .for_each(|block| block.html(&mut page));
            page.push_str("</section>\n");
        }
        page.push_str("</main>\n</body>\n</html>\n");
        page
    }

    /// The same without its charts.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("# {}\n\n", plain(&self.title));
        self.lead.iter().for_each(|block| block.markdown(&mut text));
        for section in &self.sections {
            let _ = write!(text, "## {}\n\n", plain(&section.title));
            section
                .blocks
                .iter()
                .for_each(|block| block.markdown(&mut text));
        }
        text
    }
}

impl Block {
    fn html(&self, page: &mut String) {
        let _ = match self {
            Block::Text(text) => writeln!(page, "<p>{}</p>", inline(text)),
            Block::Note(text) => writeln!(page, "<p class=\"note\">{}</p>", inline(text)),
            Block::Output(text) => writeln!(page, "<pre>{}</pre>", lines(text, escape)),
            Block::Facts(facts) => {
                page.push_str("<dl>\n");
                for (name, value) in facts {
                    let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", inline(name), inline(value));
                }
                writeln!(page, "</dl>")
            }
            Block::Table(table) => {
                table.html(page);
                Ok(())
            }
            Block::Figures(figures) => {
                page.push_str("<div class=\"figures\">\n");
                for figure in figures {
                    let class = if figure.wide { " class=\"wide\"" } else { "" };
                    let _ = writeln!(page, "<figure{class}>\n{}", figure.svg);
                    if !figure.caption.is_empty() {
                        let caption = inline(&figure.caption);
                        let _ = writeln!(page, "<figcaption>{caption}</figcaption>");
                    }
                    page.push_str("</figure>\n");
                }
                writeln!(page, "</div>")
            }
            Block::Folded(title, blocks) => {
                let title = inline(title);
                let _ = writeln!(page, "<details>\n<summary>{title}</summary>");
                blocks.iter().for_each(|block| block.html(page));
                writeln!(page, "</details>")
            }
        };
    }

    fn markdown(&self, text: &mut String) {
        let _ = match self {
            Block::Text(paragraph) => write!(text, "{}\n\n", plain(paragraph)),
            Block::Note(paragraph) => write!(text, "> {}\n\n", plain(paragraph)),
            Block::Output(output) => {
                write!(text, "{}\n\n", lines(output, |line| format!("    {line}")))
            }
            Block::Facts(facts) => {
                for (name, value) in facts {
                    let _ = writeln!(text, "* **{}**: {}", plain(name), plain(value));
                }
                writeln!(text)
            }
            Block::Table(table) => {
                table.markdown(text);
                Ok(())
            }
            Block::Figures(figures) => {
                for figure in figures {
                    let (title, caption) = (plain(&figure.title), plain(&figure.caption));
                    let caption = match caption.as_str() {
                        "" => String::new(),
                        caption => format!(" ({caption})"),
                    };
                    let _ = writeln!(text, "* Chart, see the HTML page: {title}{caption}");
                }
                writeln!(text)
            }
            Block::Folded(title, blocks) => {
                let _ = write!(text, "### {}\n\n", plain(title));
                blocks.iter().for_each(|block| block.markdown(text));
                Ok(())
            }
        };
    }
}

impl Table {
    fn html(&self, page: &mut String) {
        let class = |number: &bool| if *number { " class=\"number\"" } else { "" };
        let caption = inline(&self.caption);
        let long = |text: &String| text.chars().nth(LONG_CELL).is_some();
        let many = self.columns.len() > DENSE_FROM;
        let dense = match many || self.rows.iter().flatten().any(long) {
            true => " class=\"dense\"",
            false => "",
        };
        let _ = write!(
            page,
            "<div class=\"table\">\n<p>{caption}</p>\n<div class=\"scroll\" tabindex=\"0\"><table{dense}>\n<thead><tr>"
        );
        for (name, number) in &self.columns {
            // `staleness:10` may take two lines.
            let name = inline(name).replace(':', ":<wbr>");
            let _ = write!(page, "<th{}>{name}</th>", class(number));
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            page.push_str("<tr>");
            for (text, (_, number)) in row.iter().zip(&self.columns) {
                let class = match long(text) {
                    true if !number => " class=\"long\"",
                    _ => class(number),
                };
                let _ = write!(page, "<td{class}>{}</td>", inline(text));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody>\n</table></div>\n</div>\n");
    }

    fn markdown(&self, text: &mut String) {
        let cell = |word: &str| plain(word).replace('|', "\\|");
        let _ = write!(text, "{}\n\n|", plain(&self.caption));
        for (name, _) in &self.columns {
            let _ = write!(text, " {} |", cell(name));
        }
        text.push_str("\n|");
        for (_, number) in &self.columns {
            text.push_str(if *number { "---:|" } else { "---|" });
        }
        for row in &self.rows {
            text.push_str("\n|");
            for word in row {
                let _ = write!(text, " {} |", cell(word));
            }
        }
        text.push_str("\n\n");
    }
}

/// Text as HTML and SVG take it; control characters of names are shown.
fn escape(text: &str) -> String {
    printable(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Each line by itself: what is shown of control characters includes line breaks.
fn lines(text: &str, line: impl Fn(&str) -> String) -> String {
    let lines: Vec<String> = text.lines().map(|text| line(&printable(text))).collect();
    lines.join("\n")
}

/// Escaped text with its code, verdicts and warnings marked.
fn inline(text: &str) -> String {
    let mut html = String::new();
    for (nth, part) in escape(text).split('`').enumerate() {
        if nth % 2 == 1 {
            let _ = write!(html, "<code>{part}</code>");
        } else {
            html.push_str(part);
        }
    }
    // A number stays with its unit and its deviation.
    let html = html.replace(" ± ", " ±&nbsp;").replace(" %", "&nbsp;%");
    let html = VERDICTS.iter().fold(html, |html, (word, class)| {
        html.replace(word, &format!("<b class=\"{class}\">{word}</b>"))
    });
    marked(&html, "<b class=\"warning\">", "</b>")
}

/// Text as Markdown takes it: but for its code, what would begin a tag, a link or an emphasis is
/// itself, and a line break of a name begins no new block.
fn plain(text: &str) -> String {
    let text = printable(text).replace('\n', " ");
    let mut safe = String::with_capacity(text.len());
    for (nth, part) in text.split('`').enumerate() {
        if nth > 0 {
            safe.push('`');
        }
        for c in part.chars() {
            if nth % 2 == 0 && matches!(c, '<' | '[' | '*' | '\\') {
                safe.push('\\');
            }
            safe.push(c);
        }
    }
    safe
}

/// Text with its warnings between `begin` and `end`.
fn marked(text: &str, begin: &str, end: &str) -> String {
    WARNINGS.iter().fold(text.to_owned(), |text, warning| {
        text.replace(warning, &format!("{begin}{warning}{end}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let mut table = Table::new("A <table>", &["name"], &["AP"]);
        table
            .rows
            .push(vec!["a|b SYNTHETIC".to_owned(), "0.5".to_owned()]);
        let figure = Figure {
            title: "Speed".to_owned(),
            caption: "what it is".to_owned(),
            svg: "<svg></svg>".to_owned(),
            wide: true,
        };
        let section = Section {
            title: "First".to_owned(),
            blocks: vec![
                Block::Text("run `a < b`".to_owned()),
                Block::Note("careful".to_owned()),
                Block::Facts(vec![("seed".to_owned(), "0".to_owned())]),
                Block::Table(table),
                Block::Figures(vec![figure]),
            ],
        };
        Document {
            title: "A & B".to_owned(),
            lead: vec![Block::Text("lead".to_owned())],
            sections: vec![section],
        }
    }

    #[test]
    fn a_page_is_escaped_and_needs_nothing_else() {
        let page = document().to_html();
        for part in [
            "<title>A &amp; B</title>",
            "run <code>a &lt; b</code>",
            "<td>a|b <b class=\"warning\">SYNTHETIC</b></td><td class=\"number\">0.5</td>",
            "<figure class=\"wide\">\n<svg></svg>\n<figcaption>what it is</figcaption>",
            "<dt>seed</dt><dd>0</dd>",
            "prefers-color-scheme: dark",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        for outside in ["http", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_verdict_has_its_colour_and_an_output_its_lines() {
        let document = Document {
            lead: vec![
                Block::Note("FAILED: 1 of 2".to_owned()),
                Block::Output("a <b>\n  c\u{1b}[2J".to_owned()),
            ],
            ..document()
        };
        let page = document.to_html();
        assert!(
            page.contains("<p class=\"note\"><b class=\"bad\">FAILED</b>: 1 of 2</p>"),
            "{page}"
        );
        assert!(page.contains("<pre>a &lt;b&gt;\n  c"), "{page}");
        assert!(!page.contains('\u{1b}'));
        let text = document.to_markdown();
        assert!(
            text.contains("> FAILED: 1 of 2\n\n    a <b>\n      c"),
            "{text}"
        );
    }

    #[test]
    fn a_name_from_outside_is_only_a_name() {
        let name = "a<img src=x>[b](javascript:0)\u{1b}[2J\n# c | `d` *e*";
        let mut table = Table::new(name, &[name], &[]);
        table.rows.push(vec![name.to_owned()]);
        let document = Document {
            title: name.to_owned(),
            lead: vec![
                Block::Text(name.to_owned()),
                Block::Facts(vec![(name.to_owned(), name.to_owned())]),
                Block::Table(table),
            ],
            sections: Vec::new(),
        };
        let (page, text) = (document.to_html(), document.to_markdown());
        assert!(!page.contains("<img") && !page.contains('\u{1b}'));
        assert!(!text.contains('\u{1b}') && !text.contains("\n# c"));
        assert_eq!(text.matches("\\<img").count(), 7);
        assert_eq!(text.matches("\\[b](").count(), 7);
        assert_eq!(text.matches("c \\| `d` \\*e\\*").count(), 2);
    }

    #[test]
    fn only_long_texts_may_break_across_lines() {
        let mut table = Table::new("lengths", &["a", "b"], &["c"]);
        let long = "word ".repeat(9);
        table
            .rows
            .push(vec![long.clone(), "short".to_owned(), long.clone()]);
        let mut page = String::new();
        table.html(&mut page);
        let row =
            format!("<td class=\"long\">{long}</td><td>short</td><td class=\"number\">{long}</td>");
        assert!(page.contains(&row), "{page}");
    }

    #[test]
    fn markdown_has_the_same_words() {
        let text = document().to_markdown();
        for part in [
            "# A & B\n",
            "## First\n",
            "| name | AP |\n|---|---:|\n| a\\|b SYNTHETIC | 0.5 |\n",
            "> careful",
            "* **seed**: 0",
            "Speed (what it is)",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
