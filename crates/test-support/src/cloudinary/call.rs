//! Calls of the API, parsed.

use std::{collections::BTreeMap, fmt::Write as _};

use chrono::Utc;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use url::Url;

use super::{API_KEY, API_SECRET};

/// A parsed call.
#[derive(Debug, Clone)]
pub struct Call {
    /// GET or POST.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The form's fields or the query, without the file.
    pub fields: BTreeMap<String, String>,
    /// The file's content.
    pub file: Option<Vec<u8>>,
    /// The file's declared type.
    pub file_type: Option<String>,
}

impl Call {
    pub(super) async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = find(&bytes, b"\r\n\r\n") {
                break end;
            }
            (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let mut lines = head.split("\r\n");
        let mut request = lines.next()?.split(' ');
        let (method, target) = (request.next()?.to_owned(), request.next()?.to_owned());
        let headers = headers(lines);
        if headers.contains_key("expect") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
        }
        let length: usize = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
        let mut body = bytes.split_off(end + 4);
        while body.len() < length {
            (stream.read_buf(&mut body).await.ok()? > 0).then_some(())?;
        }
        let url = Url::parse("http://standin").ok()?.join(&target).ok()?;
        let fields = url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
        let path = url.path().to_owned();
        let mut call = Self { method, path, headers, fields, file: None, file_type: None };
        call.read_form(&body);
        Some(call)
    }

    /// Reads a multipart form (RFC 7578).
    fn read_form(&mut self, body: &[u8]) {
        let Some((_, boundary)) =
            self.headers.get("content-type").and_then(|kind| kind.split_once("boundary="))
        else {
            return;
        };
        let delimiter = format!("--{boundary}").into_bytes();
        let mut rest = body;
        while let Some(start) = find(rest, &delimiter) {
            rest = &rest[start + delimiter.len()..];
            let Some(end) = find(rest, &delimiter) else { return };
            self.read_part(&rest[2..end - 2]);
        }
    }

    fn read_part(&mut self, part: &[u8]) {
        let head_end = find(part, b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&part[..head_end]).unwrap();
        let content = &part[head_end + 4..];
        let headers = headers(head.split("\r\n"));
        let disposition = &headers["content-disposition"];
        let name = disposition.split("name=\"").nth(1).unwrap().split('"').next().unwrap();
        if disposition.contains("filename=") {
            self.file = Some(content.to_vec());
            self.file_type = headers.get("content-type").cloned();
        } else {
            self.fields.insert(name.to_owned(), String::from_utf8(content.to_vec()).unwrap());
        }
    }

    /// Returns whether the documented signature is valid and recent.
    pub fn is_signed(&self) -> bool {
        let unsigned = ["file", "cloud_name", "resource_type", "api_key", "signature"];
        let mut text = String::new();
        // The map has the names in alphabetical order.
        for (name, value) in self.fields.iter().filter(|(name, _)| !unsigned.contains(&name.as_str())) {
            let joint = if text.is_empty() { "" } else { "&" };
            write!(text, "{joint}{name}={value}").unwrap();
        }
        text.push_str(API_SECRET);
        let digest = Sha256::digest(text.as_bytes());
        let expected: Vec<_> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let timestamp = self.number("timestamp");
        self.fields.get("signature") == Some(&expected.concat())
            && self.fields.get("api_key").is_some_and(|key| key == API_KEY)
            && timestamp.is_some_and(|at| (at - Utc::now().timestamp()).abs() < 3600)
    }

    /// Returns a field, or an empty text if it is missing.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Returns a field that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.fields.get(name)?.parse().ok()
    }
}

fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
