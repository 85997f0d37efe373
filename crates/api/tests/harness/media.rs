//! Uploads, and the files that a server stores.

use std::path::Path;

use reqwest::{
    Method,
    multipart::{Form, Part},
};
use serde_json::Value;
use test_support::media::SECRET;

use super::{Response, Server, User};

/// A form with one file.
pub(crate) fn file_form(bytes: Vec<u8>, name: &str) -> Form {
    Form::new().part("media", Part::bytes(bytes).file_name(name.to_owned()).mime_str("image/png").unwrap())
}

/// Creates a post from a form.
pub(crate) async fn upload(server: &Server, user: &User, form: Form) -> Response {
    server.send(server.request(Method::POST, "/posts/").bearer_auth(&user.access).multipart(form)).await
}

/// Names of the files below `data_dir` that are stored or being uploaded.
pub(crate) fn files_in(data_dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        ["media", "uploads"].iter().flat_map(|name| names_in(&data_dir.join(name))).collect();
    names.retain(|name| name != ".lock");
    names
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = directory.read_dir().into_iter().flatten().map(Result::unwrap);
    let names = entries.flat_map(|entry| {
        let is_dir = entry.file_type().unwrap().is_dir();
        if is_dir { names_in(&entry.path()) } else { vec![entry.file_name().into_string().unwrap()] }
    });
    names.collect()
}

pub(crate) fn stored_files(server: &Server) -> Vec<String> {
    files_in(server.folder.path())
}

/// Path and query of the URL of a post's file.
pub(crate) fn media_path(server: &Server, post: &Value) -> String {
    post["media_url"].as_str().unwrap().strip_prefix(&server.url).unwrap().to_owned()
}

/// Returns whether a file contains the metadata that uploads are stripped of.
pub(crate) fn contains_secret(file: &[u8]) -> bool {
    file.windows(17).any(|part| part == &SECRET[..17])
}
