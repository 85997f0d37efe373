//! A mail server from an independent library, which stores received mail.

use std::{
    net::{IpAddr, TcpListener},
    sync::{Arc, Mutex},
};

use mailin_embedded::{Handler, Response, Server, SslConfig, response};

/// A mail as received by the server.
#[derive(Debug, Clone, Default)]
pub(super) struct ReceivedMail {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) data: Vec<u8>,
}

#[derive(Clone, Default)]
struct Session {
    current: ReceivedMail,
    received: Arc<Mutex<Vec<ReceivedMail>>>,
}

impl Handler for Session {
    fn mail(&mut self, _ip: IpAddr, _domain: &str, from: &str) -> Response {
        self.current = ReceivedMail { from: from.into(), ..ReceivedMail::default() };
        response::OK
    }

    fn rcpt(&mut self, to: &str) -> Response {
        self.current.to.push(to.into());
        response::OK
    }

    fn data(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.current.data.extend_from_slice(line);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        self.received.lock().unwrap().push(std::mem::take(&mut self.current));
        response::OK
    }
}

/// Starts a server, whose threads end with the process. Returns its port and the mails it receives.
pub(super) fn start() -> (u16, Arc<Mutex<Vec<ReceivedMail>>>) {
    let session = Session::default();
    let received = session.received.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut server = Server::new(session);
        server.with_ssl(SslConfig::None).unwrap().with_tcp_listener(listener);
        server.serve().unwrap();
    });
    (port, received)
}
