//! A mail server from a library that knows nothing of ours.

use std::{
    net::{IpAddr, TcpListener},
    sync::{Arc, Mutex},
};

use mailin_embedded::{Handler, Response, Server, SslConfig, response};

/// A mail as the server got it.
#[derive(Debug, Clone, Default)]
pub(super) struct Caught {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) data: Vec<u8>,
}

#[derive(Clone, Default)]
struct Session {
    arriving: Caught,
    caught: Arc<Mutex<Vec<Caught>>>,
}

impl Handler for Session {
    fn mail(&mut self, _ip: IpAddr, _domain: &str, from: &str) -> Response {
        self.arriving = Caught { from: from.into(), ..Caught::default() };
        response::OK
    }

    fn rcpt(&mut self, to: &str) -> Response {
        self.arriving.to.push(to.into());
        response::OK
    }

    fn data(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.arriving.data.extend_from_slice(line);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        self.caught.lock().unwrap().push(std::mem::take(&mut self.arriving));
        response::OK
    }
}

/// Starts a server; its threads end with the process.
pub(super) fn start() -> (u16, Arc<Mutex<Vec<Caught>>>) {
    let session = Session::default();
    let caught = session.caught.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut server = Server::new(session);
        server.with_ssl(SslConfig::None).unwrap().with_tcp_listener(listener);
        server.serve().unwrap();
    });
    (port, caught)
}
