//! The file `.env`.

use std::{io::ErrorKind, path::Path};

/// Stands for `$` while the library parses, which would replace `$NAME` by the value of another variable.
const DOLLAR_SIGN: char = '\u{e024}';

/// Reads the variables of the file `.env` in this directory, else of the nearest one above. There need not be such a file.
/// Of several variables with one name the first counts.
///
/// # Errors
/// A sentence that names the file, and the line that cannot be parsed.
pub(super) fn read(directory: &Path) -> Result<Vec<(String, String)>, String> {
    for path in directory.ancestors().map(|directory| directory.join(".env")) {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                return parse(&text).map_err(|line| {
                    let path = path.display();
                    format!("{path}, line {line}, must be NAME=value, with quotes around spaces and quotes")
                });
            }
            // Other tools create directories of this name.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    Ok(Vec::new())
}

/// Parses the text. The error is the number of a line.
///
/// Line by line: the library would look for the end of a quoted value in the following lines, and take these for a part
/// of it.
fn parse(text: &str) -> Result<Vec<(String, String)>, usize> {
    let text = text.trim_start_matches('\u{feff}').replace('$', DOLLAR_SIGN.encode_utf8(&mut [0; 4]));
    let mut variables: Vec<(String, String)> = Vec::new();
    for (line, number) in text.lines().zip(1_usize..) {
        for variable in dotenvy::from_read_iter(format!("{line}\n").as_bytes()) {
            let (name, value) = variable.map_err(|_| number)?;
            if variables.iter().all(|(known, _)| *known != name) {
                variables.push((name, value.replace(DOLLAR_SIGN, "$")));
            }
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_written() {
        let text = "\u{feff}# it's a comment\r\nA=1 # one\r\n\r\nexport B = 'two words'\nC=\"a \\\"quote\\\"\"\nD=\nA=2\n\
                    E=pa$$word$HOME\nF=\"${A} $\"\nG='$A\\$'\nH=a#b \nI=postgres://u:p%40$x@h/d?a=b";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a \"quote\""),
            ("D", ""),
            ("E", "pa$$word$HOME"),
            ("F", "${A} $"),
            ("G", "$A\\$"),
            ("H", "a#b"),
            ("I", "postgres://u:p%40$x@h/d?a=b"),
        ];
        assert_eq!(
            parse(text),
            Ok(expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
        );
    }

    #[test]
    fn line_that_cannot_be_parsed_is_named() {
        for (text, line) in [
            ("SENDER_NAME=My Social\nAPP_ENV=production\n", 1),
            ("A=1\n\n# comment\nSENDER_NAME=Ann's\nAPP_ENV=production\nB=it's\n", 4),
            ("A=1\nB=\"open\nC=3\n", 2),
            ("A=1\nnonsense\n", 2),
            ("A=1\n1A=2", 2),
            ("A=\\$x", 1),
        ] {
            assert_eq!(parse(text), Err(line), "{text:?}");
        }
    }

    #[test]
    fn file_of_the_nearest_directory_is_read() {
        let root = tempfile::tempdir().unwrap();
        let (outer, inner) = (root.path().join("a"), root.path().join("a/b"));
        std::fs::create_dir_all(inner.join(".env")).unwrap();
        std::fs::write(outer.join(".env"), "A=outer").unwrap();
        assert_eq!(read(&inner), Ok(vec![("A".to_owned(), "outer".to_owned())]));
        std::fs::write(outer.join(".env"), b"A=\xff").unwrap();
        let error = read(&inner).unwrap_err();
        assert!(error.starts_with(outer.join(".env").to_str().unwrap()), "{error}");
    }
}
