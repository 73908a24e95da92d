//! Stored text on its way to a terminal, a pager or a file that is looked at later: it may be anything that a guest has sent,
//! also what a terminal takes for a command. So it is always shown escaped, wherever it goes.

use std::fmt::{self, Display, Formatter, Write};

/// Text of which every control character is shown as an escape (`\n`, `\u{1b}`), also those that change the direction of
/// writing. All else is as it is; a value of which the bytes matter is asked for as `hex(…)` or `json_quote(…)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if is_command(c) => write!(f, "{}", c.escape_unicode())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Whether a terminal, or the order in which text is shown, obeys it.
pub(super) fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_and_all_else_is_as_it_is() {
        let shown = |text| Escaped(text).to_string();
        assert_eq!(shown("\u{1b}[2J\u{7}"), "\\u{1b}[2J\\u{7}");
        assert_eq!(shown("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
        assert_eq!(shown("a\nb\r\tc"), "a\\nb\\r\\tc");
        assert_eq!(shown("\u{202e}abc"), "\\u{202e}abc");
        let plain = "{\"a\":\"\\n ü 上海 👩\u{200d}👩 é\"}";
        assert_eq!(shown(plain), plain);
    }
}
