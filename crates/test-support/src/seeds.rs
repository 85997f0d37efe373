//! Seeds of the fuzzer: for each target, inputs that reach far into a parser.

use crate::media::{self, images as make};

/// Size limit of a seed: larger ones only slow the fuzzer down.
const MAX_SEED_SIZE: usize = 32 << 10;

/// The seeds of this target; none if there is no such target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let seeds = match target {
        "media" => media::seeds(),
        "body" => bodies(),
        "query" => texts(QUERIES),
        "token" => tokens(),
        "cursor" => texts(CURSORS),
        "values" => values(),
        "headers" => texts(HEADERS),
        "handshake" => texts(HANDSHAKES),
        _ => Vec::new(),
    };
    seeds.into_iter().filter(|seed| seed.len() <= MAX_SEED_SIZE).collect()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const JSON: &[&str] = &[
    r#"{"username":"ann","email":"ann@example.com","password":"correct horse"}"#,
    r#"{"email":"ann@example.com","otp":"123456"}"#,
    r#"{"content":"Hello \u00e4\ud83e\udd80","is_private":"yes","media":""}"#,
    r#"{"content":null,"is_private":1}"#,
    r#"{"username":[],"email":{},"password":1e400,"refresh_token":false}"#,
    r#"{"a":[[[[[[[[[["deep"]]]]]]]]]],"content":"\ud800"}"#,
    "[]",
    "null",
    " ",
    "{",
];

const FORMS: &[&str] = &[
    "grant_type=password&username=ann&password=correct+horse&scope=&client_id=x",
    "content=Hello%2C+w%C3%B6rld%0D%0A&is_private=on",
    "content=%ff%00&is_private=maybe&content=again",
    "=&&a=b=c&%zz",
];

/// Multipart bodies, whose boundary is `x`.
fn multiparts() -> Vec<Vec<u8>> {
    let part = |headers: &str, content: &[u8]| {
        [b"--x\r\n", headers.as_bytes(), b"\r\n\r\n", content, b"\r\n"].concat()
    };
    let text = |name: &str, value: &str| {
        part(&format!("Content-Disposition: form-data; name=\"{name}\""), value.as_bytes())
    };
    let file = |content: &[u8]| {
        let headers = "Content-Disposition: form-data; name=\"media\"; filename*=UTF-8''%e2%82%ac.png\r\nContent-Type: image/png";
        part(headers, content)
    };
    let closed = |parts: &[Vec<u8>]| [parts.concat(), b"--x--\r\n".to_vec()].concat();
    vec![
        closed(&[text("content", "look"), file(&make::png()), text("is_private", "true")]),
        closed(&[file(b""), file(&make::gif())]),
        closed(&[file(&make::gif()), file(&make::gif())]),
        closed(&[text("username", "ann"), text("password", "correct horse")]),
        closed(&[part("", b"nothing said"), text("", "")]),
        closed(&[part("Content-Disposition: form-data; filename=\"a\"", b"no name")]),
        [text("content", "no end"), b"--x".to_vec()].concat(),
        closed(&[]),
    ]
}

/// The first byte is the kind of the body, the second the size of the pieces in which it arrives.
fn bodies() -> Vec<Vec<u8>> {
    let kinds = [texts(JSON), texts(FORMS), multiparts()].into_iter().zip(0_u8..);
    kinds
        .flat_map(|(bodies, kind)| bodies.into_iter().map(move |body| (kind, body)))
        .flat_map(|(kind, body)| [7, 255].map(|size| [&[kind, size], &body[..]].concat()))
        .collect()
}

const QUERIES: &[&str] = &[
    "page=1&page_size=10",
    "page=9007199254740991&limit=100",
    "cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&user_id=me",
    "unread_only=true&since=42",
    "since=99999999999999999999&page=+7&page_size=-1",
    "page=%31%30&page=&limit=%zz&%70age=2",
    "user_id=+5&content=%F0%9F%A6%80&token=x",
];

const CURSORS: &[&str] =
    &["AAX_VvFbAAAAAAAAAAAAKgAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "", "=", "////"];

fn tokens() -> Vec<Vec<u8>> {
    // The headers {"typ":"JWT","alg":"HS256"} and {"alg":"none"}, claims with a far end, and no good signature.
    let claims =
        "eyJzdWIiOiIxIiwiZXhwIjo0MTAyNDQ0ODAwLCJpYXQiOjEsImp0aSI6IngiLCJ0eXBlIjoiYWNjZXNzIiwic2lkIjoxfQ";
    let signature = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let of = |header: &str, signature: &str| format!("{header}.{claims}.{signature}").into_bytes();
    vec![
        of("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9", signature),
        of("eyJhbGciOiJub25lIn0", ""),
        of("eyJhbGciOiJub25lIn0", signature),
        b"a.b.c".to_vec(),
        b"..".to_vec(),
        b"null".to_vec(),
    ]
}

const NAMES: &[&str] = &[
    "ann",
    "Ann_42",
    "admin",
    "ann@example.com",
    " Ann.B+tag@Sub.Example.co.uk ",
    "\"quoted\"@example.com",
    "\u{e4}\u{f6}\u{fc}@b\u{fc}cher.example",
    "a@[127.0.0.1]",
    "\u{130}@x.\u{130}",
    "Hello,\r\nworld!\r",
    "\u{1f980}\u{200d}\u{1f980}",
    "a\0b",
    "correct horse battery staple",
    "AAAAAAAAAAAAAAAAAAAAAA.webm",
];

fn values() -> Vec<Vec<u8>> {
    let long = ["a".repeat(50), "x".repeat(129), format!("{}@example.com", "a".repeat(64)), " ".repeat(5001)];
    texts(NAMES).into_iter().chain(long.map(String::into_bytes)).collect()
}

const HEADERS: &[&str] = &[
    "198.51.100.7, 127.0.0.1",
    "for=203.0.113.9, For=\"[2001:db8::1]:4711\";proto=https;host=social.example.com",
    "[::1]:80, ::ffff:192.0.2.1, unknown, _hidden",
    "Bearer  abc.def.ghi ",
    "bearer",
    "https",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "ff-0-0-0-0",
];

const HANDSHAKES: &[&str] = &[
    "EIO=4&transport=websocket&token=abc.def.ghi&since=7",
    "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA&t=x&b64=1",
    "EIO=4&transport=polling&sid=&sid=AAAAAAAAAAAAAAAB",
    "EIO=%34&%74oken=x&tok%65n=y&since=-1&since=99999999999999999999",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_seeds() {
        for target in ["media", "body", "query", "token", "cursor", "values", "headers", "handshake"] {
            assert!(of(target).len() >= 4, "{target}");
        }
    }
}
