//! The connections of the HTTP server.
//!
//! What is no HTTP never becomes a request: actix-http answers it by itself, with a bare 400, 408 or 431, and closes.
//! Such an answer is given its problem here, on its way out. It is told apart by two things: it stands where an answer
//! begins while none is underway, and it has no body, which no error answer of ours lacks.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    http::header,
    web::Bytes,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{error::ApiError, observe::RequestId};

/// What a connection has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// All answers, to their ends.
    #[default]
    Between,
    /// Perhaps a part of an answer.
    Answering,
    /// All but what is in the server's buffer, which ends with an answer.
    Encoded,
}

/// Says whether answers are underway on a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers(Rc<Cell<Stage>>);

impl Answers {
    /// From here on an answer is underway, until what is returned is dropped with its body.
    pub(crate) fn begin(&self) -> Underway {
        self.0.set(Stage::Answering);
        Underway(self.clone())
    }
}

/// An answer that has not wholly reached the server's buffer.
#[derive(Debug)]
pub(crate) struct Underway(Answers);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.0.set(Stage::Encoded);
    }
}

/// The body of an answer.
pub(crate) struct AnswerBody {
    body: BoxBody,
    _underway: Option<Underway>,
}

impl AnswerBody {
    /// A body that is underway until it is dropped.
    pub(crate) fn new(body: BoxBody, underway: Option<Underway>) -> Self {
        Self { body, _underway: underway }
    }
}

impl MessageBody for AnswerBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

/// A connection.
pub(crate) struct Wire<S> {
    stream: S,
    answers: Answers,
    /// What of an answer that was given its problem has not been written yet.
    rest: Bytes,
}

impl<S> Wire<S> {
    /// One that nothing has been written to.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, answers: Answers::default(), rest: Bytes::new() }
    }

    /// What it is made of.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Whether answers are underway.
    pub(crate) fn answers(&self) -> &Answers {
        &self.answers
    }

    fn took(&self, some: usize, of: usize) {
        match self.answers.0.get() {
            Stage::Encoded if some == of => self.answers.0.set(Stage::Between),
            Stage::Between if some < of => self.answers.0.set(Stage::Encoded),
            _ => {}
        }
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.rest.split_to(written)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_rest(cx))?;
        if self.answers.0.get() == Stage::Between
            && let Some(status) = bare_error(buf)
        {
            self.rest = explained(status).into();
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.took(written, buf.len());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

/// The status of an answer that is an error without a body, and nothing else.
fn bare_error(answer: &[u8]) -> Option<u16> {
    let status = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    if !matches!(status[0], b'4' | b'5') {
        return None;
    }
    let head = answer.strip_suffix(b"\r\n\r\n")?.to_ascii_lowercase();
    let has = |wanted: &[u8]| head.windows(wanted.len()).any(|part| part == wanted);
    if !has(b"\r\ncontent-length: 0") || has(b"\r\n\r\n") {
        return None;
    }
    std::str::from_utf8(status).ok()?.parse().ok()
}

/// The whole answer to what was no request. Nothing more can be read after it.
fn explained(status: u16) -> Vec<u8> {
    let id = RequestId::random();
    tracing::info!(id = id.as_str(), status, "answered what was no HTTP");
    let mut answer = ApiError::of_status(status).render(id.as_str());
    let reason = answer.status();
    id.mark(answer.headers_mut(), false);
    answer.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let mut bytes = format!("HTTP/1.1 {reason}\r\n").into_bytes();
    for (name, value) in answer.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let body = answer.into_body().try_into_bytes().unwrap_or_default();
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const BARE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    #[test]
    fn only_a_whole_error_without_a_body_is_bare() {
        assert_eq!(bare_error(BARE), Some(400));
        assert_eq!(bare_error(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), None);
        assert_eq!(bare_error(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n"), None);
        assert_eq!(bare_error(b"HTTP/1.1 404 Not Found\r\ncontent-length: 02\r\n\r\n{}"), None);
        assert_eq!(bare_error(&[BARE, b"x"].concat()), None);
        assert_eq!(bare_error(b""), None);
    }

    #[tokio::test]
    async fn what_looks_like_a_bare_error_in_the_middle_of_an_answer_is_left_alone() {
        let (near, mut far) = tokio::io::duplex(4096);
        let mut wire = Wire::new(near);
        let underway = wire.answers().begin();
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 138\r\n\r\n";
        wire.write_all(head).await.unwrap();
        wire.write_all(BARE).await.unwrap();
        drop(underway); // its body is in the buffer, of which this is the last part
        wire.write_all(BARE).await.unwrap();
        let mut sent = vec![0; head.len() + 2 * BARE.len()];
        far.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, [head, BARE, BARE].concat());
    }

    #[tokio::test]
    async fn a_bare_error_between_answers_is_explained() {
        let (near, mut far) = tokio::io::duplex(16); // less than an answer
        let mut wire = Wire::new(near);
        let reader = tokio::spawn(async move {
            let mut sent = String::new();
            far.read_to_string(&mut sent).await.unwrap();
            sent
        });
        drop(wire.answers().begin());
        wire.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        wire.write_all(BARE).await.unwrap();
        wire.shutdown().await.unwrap();
        drop(wire);
        let sent = reader.await.unwrap();
        let (_, error) = sent.split_once("\r\n\r\n").unwrap();
        assert!(error.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{error}");
        let (head, body) = error.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("application/problem+json") && head.contains("x-request-id: "), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "bad_request");
    }
}
