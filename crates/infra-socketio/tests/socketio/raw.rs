//! Clients by hand, for what no library would do.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::server::{PATIENCE, TestServer};

/// One HTTP request on a connection of its own; the whole answer.
pub(crate) async fn http(server: &TestServer, method: &str, target: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The session's id of a polling handshake.
pub(crate) fn sid(answer: &str) -> &str {
    answer.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap()
}

/// A websocket that reads only when it is told to.
pub(crate) struct WebSocket(TcpStream);

impl WebSocket {
    /// Opens it; `parameters` follow those that must be there.
    pub(crate) async fn open(server: &TestServer, parameters: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Small, so that it is soon full.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket{parameters} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    /// Sends a text frame, masked with zeros.
    pub(crate) async fn send(&mut self, text: &str) {
        let length = u16::try_from(text.len()).unwrap();
        let mut frame = vec![0x81, 0x80 | 0x7e];
        frame.extend(length.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).await.unwrap();
    }

    /// Reads until such text has come.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        let mut all = Vec::new();
        while !String::from_utf8_lossy(&all).contains(text) {
            let mut chunk = [0; 1024];
            let read = timeout(PATIENCE, self.0.read(&mut chunk)).await.unwrap().unwrap();
            assert!(read > 0, "the end, but no {text}");
            all.extend(&chunk[..read]);
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Reads all there is until the server closes.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut all = Vec::new();
        // A reset is an end, too.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut all)).await.expect("the server does not close");
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Whether the server has closed, once what was sent has been read.
    pub(crate) async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
