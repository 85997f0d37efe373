//! What of a text can be seen.

/// Returns whether a character shows nothing: white space, controls, the default ignorable code points of Unicode (UAX
/// #44), and letters that are blank.
fn is_invisible(char: char) -> bool {
    char.is_whitespace()
        || char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d159}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Returns whether nothing of a text can be seen.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(is_invisible)
}

/// Returns a text without the characters that show nothing.
#[must_use]
pub fn without_invisible(text: &str) -> String {
    text.chars().filter(|char| !is_invisible(*char)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_visible_character_is_blank() {
        for blank in [
            "",
            " \t\r\n\u{a0}\u{3000}\u{85}",
            "\u{200b}\u{200c}\u{200d}\u{200e}\u{2060}\u{2063}\u{feff}\u{ad}\u{180e}",
            "\u{2800}\u{3164}\u{115f}\u{1160}\u{ffa0}\u{17b4}\u{1d159}",
            "\u{202e}\u{2066}\u{2069}\u{fe0f}\u{34f}\u{e0100}\u{e0041}",
            "\u{0}\u{7}\u{1b}",
        ] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for visible in ["a", "\u{200b}.", "👩\u{200d}💻", "❤\u{fe0f}", "ـ", "\u{1f3f4}\u{e0067}", "ᅡ"]
        {
            assert!(!is_blank(visible), "{visible:?}");
        }
    }

    #[test]
    fn without_invisible_keeps_the_rest() {
        assert_eq!(without_invisible("\u{feff} a\u{200b}b \n"), "ab");
    }
}
