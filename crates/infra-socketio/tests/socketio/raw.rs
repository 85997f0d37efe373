//! Handwritten clients, for behavior that no library has.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::server::{TIMEOUT, TestServer};

/// Sends an HTTP request on its own connection, and returns the whole response.
pub(crate) async fn http(server: &TestServer, method: &str, target: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    timeout(TIMEOUT, stream.read_to_end(&mut response)).await.unwrap().unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

/// Returns the session id of a polling handshake's response.
pub(crate) fn sid(response: &str) -> &str {
    response.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap()
}

/// A text frame, masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 0x7e];
    frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// A websocket that reads only on request.
pub(crate) struct WebSocket(TcpStream);

impl WebSocket {
    /// Opens a websocket with additional query parameters.
    pub(crate) async fn open(server: &TestServer, parameters: &str) -> Self {
        Self::open_with_frames(server, parameters, &[]).await
    }

    /// Opens a websocket and sends these texts together with the request, without waiting for the response.
    pub(crate) async fn open_with_frames(server: &TestServer, parameters: &str, texts: &[&str]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Small, so that it fills soon.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket{parameters} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.address
        );
        let frames = texts.iter().flat_map(|text| frame(text));
        let bytes: Vec<u8> = request.into_bytes().into_iter().chain(frames).collect();
        stream.write_all(&bytes).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(TIMEOUT, stream.read_u8()).await.unwrap().unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    /// Sends a text frame.
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(&frame(text)).await.unwrap();
    }

    /// Reads until the text arrives.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        let mut all = Vec::new();
        while !String::from_utf8_lossy(&all).contains(text) {
            let mut chunk = [0; 1024];
            let read = timeout(TIMEOUT, self.0.read(&mut chunk)).await.unwrap().unwrap();
            assert!(read > 0, "the end, but no {text}");
            all.extend(&chunk[..read]);
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Reads until the server closes the connection.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut all = Vec::new();
        // A reset is an end too.
        let _ = timeout(TIMEOUT, self.0.read_to_end(&mut all)).await.expect("the server does not close");
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Waits briefly.
    pub(crate) async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
