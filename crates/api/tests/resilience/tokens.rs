//! Forged, expired and foreign tokens, checks on every closed route and on the socket.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    harness::{PASSWORD, Process},
    resilience::report,
};

const KEY: &str = "9f2c47d10be85a63c4e7f01829ab3d5c";

fn signed(header: &Value, claims: &Value, key: &str, algorithm: Algorithm) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = sign(message.as_bytes(), &EncodingKey::from_secret(key.as_bytes()), algorithm).unwrap();
    format!("{message}.{signature}")
}

fn signed_by_server(claims: &Value) -> String {
    signed(&json!({"typ": "JWT", "alg": "HS256"}), claims, KEY, Algorithm::HS256)
}

fn claims_of(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Invalid tokens, each derived from a valid one.
fn forged(good: &str, refresh: &str) -> Vec<(String, String)> {
    let claims = claims_of(good);
    let parts: Vec<&str> = good.split('.').collect();
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        changed
    };
    let mut bad: Vec<(String, String)> = Vec::new();
    let mut add = |case: &str, token: String| bad.push((case.to_owned(), token));
    for none in ["none", "None", "NONE"] {
        let head = part(&json!({"typ": "JWT", "alg": none}));
        add("unsigned", format!("{head}.{}.", parts[1]));
        add("unsigned, old signature", format!("{head}.{}.{}", parts[1], parts[2]));
    }
    for other in ["HS512", "HS384", "RS256", "ES256", "EdDSA"] {
        add(other, signed(&json!({"typ": "JWT", "alg": other}), &claims, KEY, Algorithm::HS256));
    }
    let header = json!({"typ": "JWT", "alg": "HS512"});
    add("truly HS512", signed(&header, &claims, KEY, Algorithm::HS512));
    add(
        "other key",
        signed(&json!({"alg": "HS256"}), &claims, "another key of thirty-two bytes!", Algorithm::HS256),
    );
    add("no key", signed(&json!({"alg": "HS256"}), &claims, "", Algorithm::HS256));
    let key_inside = json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}, "kid": "../../dev/null"});
    add("its own key", signed(&key_inside, &claims, "\0\0\0", Algorithm::HS256));
    add("swapped payload", format!("{}.{}.{}", parts[0], part(&with("sub", json!("2"))), parts[2]));
    add("cut signature", good[..good.len() - 4].to_owned());
    add("no signature", format!("{}.{}", parts[0], parts[1]));
    add("one more part", format!("{good}.{}", parts[2]));
    add("refresh token", refresh.to_owned());
    for name in ["sub", "exp", "iat", "jti", "type", "sid"] {
        let mut without = claims.clone();
        without.as_object_mut().unwrap().remove(name);
        add(&format!("without {name}"), signed_by_server(&without));
        for value in [json!(null), json!([]), json!({"a": 1}), json!(true), json!("x"), json!(-1.5)] {
            // Only the types of these two claims are checked.
            if !(name == "jti" && value == "x" || name == "iat" && value == -1.5) {
                add(&format!("{name} = {value}"), signed_by_server(&with(name, value.clone())));
            }
        }
    }
    add(
        "sub as a number",
        signed_by_server(&with("sub", claims["sub"].as_str().unwrap().parse::<i64>().unwrap().into())),
    );
    add("another's sub", signed_by_server(&with("sub", json!("999999"))));
    add("no such session", signed_by_server(&with("sid", json!(999_999))));
    add("expired", signed_by_server(&with("exp", json!(claims["iat"].as_i64().unwrap() - 1))));
    for claim in ["nbf", "iat"] {
        let later = claims["iat"].as_i64().unwrap() + 600;
        add(&format!("{claim} in the future"), signed_by_server(&with(claim, json!(later))));
    }
    add("other type", signed_by_server(&with("type", json!("reset"))));
    add("type in capitals", signed_by_server(&with("type", json!("ACCESS"))));
    for junk in ["", "null", "undefined", "..", "a.b.c", "\u{fffd}", "e30.e30.e30"] {
        add("junk", junk.to_owned());
    }
    bad
}

/// Every route that requires a verified user, according to the OpenAPI document.
async fn closed(server: &Process) -> Vec<(Method, String)> {
    let (_, document) = server.try_send(server.request(Method::GET, "/openapi.json")).await.unwrap();
    let mut closed = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = operation["security"].as_array().cloned().unwrap_or_default();
            if security.iter().any(|one| one.get("access").is_some()) && !security.contains(&json!({})) {
                let path = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
                closed.push((method.to_uppercase().parse().unwrap(), path.collect::<Vec<_>>().join("/")));
            }
        }
    }
    closed
}

/// Connects with this token over a websocket and returns the response packet.
async fn websocket(server: &Process, token: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    let hello = format!("40{}", json!({"token": token}));
    // A masked text frame with a 16-bit length; the mask is zero.
    let mut frame = vec![0x81, 0x80 | 0x7E];
    frame.extend(u16::try_from(hello.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(hello.as_bytes());
    stream.write_all(&frame).await.unwrap();
    loop {
        let packet = text_frame(&mut stream).await;
        if !packet.starts_with('0') && packet != "2" {
            return packet;
        }
    }
}

/// Reads the next text frame, which a server does not mask.
async fn text_frame(stream: &mut TcpStream) -> String {
    let (_, length) = (stream.read_u8().await.unwrap(), stream.read_u8().await.unwrap());
    let length = match length {
        126 => usize::from(stream.read_u16().await.unwrap()),
        short => usize::from(short),
    };
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await.unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

/// Connects with this token over polling and returns the response packet.
async fn polling(server: &Process, token: &str) -> String {
    let address = "/socket.io/?EIO=4&transport=polling";
    let text = async |request: reqwest::RequestBuilder| request.send().await.unwrap().text().await.unwrap();
    let open = text(server.request(Method::GET, address)).await;
    let open: Value = serde_json::from_str(open.trim_start_matches('0')).unwrap();
    let address = format!("{address}&sid={}", open["sid"].as_str().unwrap());
    let hello = format!("40{}", json!({"token": token}));
    text(server.request(Method::POST, &address).body(hello)).await;
    loop {
        // Skips pings.
        let packets = text(server.request(Method::GET, &address)).await;
        if let Some(packet) = packets.split('\u{1e}').find(|packet| *packet != "2") {
            return packet.to_owned();
        }
    }
}

async fn login(server: &Process, name: &str) -> (String, String) {
    let body = json!({"username": name, "password": PASSWORD});
    let (status, pair) =
        server.try_send(server.request(Method::POST, "/users/login").json(&body)).await.unwrap();
    assert_eq!(status, 200, "{pair}");
    let of = |name: &str| pair[name].as_str().unwrap().to_owned();
    (of("access_token"), of("refresh_token"))
}

async fn try_forged_tokens(db: &TestDatabase) {
    let mut server = Process::new(&[("DATABASE_URL", db.url()), ("SECRET_KEY", KEY)]);
    server.launch().await;
    for name in ["ann", "gone", "inactive"] {
        server.create_user(name).await;
    }
    let (good, refresh) = login(&server, "ann").await;
    let mut bad: Vec<(String, String, u16)> =
        forged(&good, &refresh).into_iter().map(|(case, token)| (case, token, 401)).collect();
    bad.push(("deleted".to_owned(), login(&server, "gone").await.0, 401));
    bad.push(("inactive".to_owned(), login(&server, "inactive").await.0, 403));
    let change = "PRAGMA foreign_keys = ON;
                  DELETE FROM users WHERE username = 'gone';
                  UPDATE users SET is_active = false WHERE username = 'inactive'";
    let is_sqlite = db.url().starts_with("sqlite");
    db.execute(if is_sqlite { change } else { change.split_once(';').unwrap().1 }).await;

    let routes = closed(&server).await;
    assert!(routes.len() > 10, "{routes:?}");
    let (mut checks, mut failures) = (0, Vec::new());
    for (case, token, expected) in &bad {
        for (method, path) in &routes {
            let request = server.request(method.clone(), path);
            let request = request.header("authorization", format!("Bearer {token}"));
            checks += 1;
            match server.try_send(request).await {
                Some((status, _)) if status == *expected => {}
                other => failures.push(format!("{method} {path} with {case}: {other:?}")),
            }
        }
        for (way, packet) in
            [("polling", polling(&server, token).await), ("websocket", websocket(&server, token).await)]
        {
            checks += 1;
            if !packet.starts_with("44") || !packet.contains("Connection rejected by server") {
                failures.push(format!("{way} with {case}: {packet}"));
            }
        }
    }
    // Checks the test itself: the original token and one signed like the forged ones are accepted.
    for good in [&good, &signed_by_server(&claims_of(&good))] {
        for packet in [polling(&server, good).await, websocket(&server, good).await] {
            if !packet.starts_with("40") {
                failures.push(format!("a valid token: {packet}"));
            }
        }
    }
    report("invalid tokens", checks, &failures);
}

#[database_test]
async fn forged_tokens_open_no_closed_route_and_no_socket(db: TestDatabase) {
    try_forged_tokens(&db).await;
}
