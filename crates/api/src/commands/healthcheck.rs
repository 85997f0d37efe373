//! `api healthcheck`.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use super::config;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Requests `/readyz` from the server on this machine.
pub(crate) fn run() -> Result<(), String> {
    let config = config()?;
    let host = if config.host.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { config.host };
    match request_readiness(SocketAddr::new(host, config.port)) {
        Ok(response) if response.starts_with("HTTP/1.1 200") => Ok(()),
        Ok(response) => Err(format!("not ready: {}", response.lines().next().unwrap_or_default())),
        Err(error) => Err(format!("not reachable: {error}")),
    }
}

fn request_readiness(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}
