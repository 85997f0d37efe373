//! Socket.IO handlers: authentication, connect, disconnect and `authenticate`.

use std::sync::Arc;

use api_types::{ProblemDetails, bearer_token};
use domain::{Error, Result, notifications::NotificationId, sessions::Caller};
use serde_json::Value;
use socketioxide::{
    extract::{AckSender, SocketRef, TryData},
    handler::ConnectHandler,
};

use crate::{
    delivery::connection::Connection,
    engine::{
        connect_error::REJECTED,
        transport::{Admission, Transport},
    },
    events::{Authenticate, Authenticated, names},
    state::SharedState,
};

/// Registers the handlers of the namespace `/`.
pub(crate) fn register(state: &Arc<SharedState>) {
    let (authenticator, connector) = (state.clone(), state.clone());
    let connect = move |socket: SocketRef| async move { connect(&connector, &socket) };
    let authenticate = move |socket: SocketRef, TryData(auth): TryData<Value>| async move {
        authenticate(&authenticator, &socket, auth.ok()).await
    };
    state.io.ns("/", connect.with(authenticate));
}

/// Lets a client connect if its token is valid. The error is the message of its `connect_error`; the engine adds the
/// problem as its `data`.
async fn authenticate(
    state: &SharedState,
    socket: &SocketRef,
    auth: Option<Value>,
) -> std::result::Result<(), &'static str> {
    let Some(transport) = transport_of(socket) else { return Err(REJECTED) };
    state.engine.transports.set_sid(&transport, socket.id);
    let (token, since) = credentials(auth.as_ref(), &transport);
    let result = match token {
        Some(token) => verify(state, token).await,
        None => Err(Error::NOT_AUTHENTICATED),
    };
    if let Err(error) = &result {
        if matches!(error, Error::Internal(_) | Error::Unavailable(..)) {
            tracing::warn!(%error, "failed to authenticate a connection");
        }
        state.engine.counters().rejected += 1;
    }
    let is_admitted = result.is_ok();
    let result = result.map(|caller| Admission { caller, since });
    // A transport that was authenticated before is closing.
    let is_first = transport.authentication.set(result.map_err(|error| ProblemDetails::from(&error))).is_ok();
    if is_first && is_admitted { Ok(()) } else { Err(REJECTED) }
}

fn transport_of(socket: &SocketRef) -> Option<Arc<Transport>> {
    socket.req_parts().extensions.get::<Arc<Transport>>().cloned()
}

/// Returns token and `since`: from `auth`, else from the query or header of the first request.
fn credentials(auth: Option<&Value>, transport: &Transport) -> (Option<String>, Option<NotificationId>) {
    let first = &transport.credentials;
    let token = auth.and_then(|auth| auth.get("token")?.as_str()).filter(|token| !token.is_empty());
    let since = auth.and_then(|auth| {
        let since = auth.get("since")?;
        since.as_i64().or_else(|| since.as_str()?.parse().ok())
    });
    (token.map(without_scheme).or_else(|| first.token.clone()), since.map(NotificationId).or(first.since))
}

/// Strips the scheme from clients that send the token as they would in a header.
fn without_scheme(token: &str) -> String {
    bearer_token(token.as_bytes()).unwrap_or(token).to_owned()
}

/// Verifies a token on the main runtime: the drivers of the databases must not be dropped on an HTTP worker.
async fn verify(state: &SharedState, token: String) -> Result<Caller> {
    let sessions = state.sessions.clone();
    let verification = state.engine.runtime.spawn(async move { sessions.authenticate(token).await });
    verification.await.unwrap_or_else(|error| Err(Error::unavailable(error)))
}

fn connect(state: &Arc<SharedState>, socket: &SocketRef) {
    let Some(transport) = transport_of(socket) else { return };
    let Some(Ok(admission)) = transport.authentication.get().cloned() else { return };
    let (renewer, disconnector) = (state.clone(), state.clone());
    socket.on_disconnect(move |socket: SocketRef| async move { disconnect(&disconnector, &socket) });
    let renew = move |socket: SocketRef, ack: AckSender, TryData(body): TryData<Authenticate>| async move {
        let response = renew(&renewer, &socket, body.ok()).await;
        // The client may be gone.
        let _ = ack.send(&response);
    };
    socket.on(names::AUTHENTICATE, renew);
    let (engine, now) = (state.engine.clone(), state.clock.now());
    let connection = Arc::new(Connection::new(engine, socket.clone(), transport, admission, now));
    let channel = state.registry.join(&connection);
    // A session that ended after its token was verified: either it is seen here, or its end finds the connection.
    if state.sessions.has_ended(admission.caller.session) {
        return disconnect(state, socket);
    }
    state.on_presence_change(connection.user);
    // The client may have left before the handler above was registered.
    if !socket.connected() {
        return disconnect(state, socket);
    }
    state.engine.counters().connected += 1;
    state.engine.runtime.spawn(channel.work(connection));
}

fn disconnect(state: &SharedState, socket: &SocketRef) {
    if let Some(connection) = state.registry.leave(socket.id) {
        state.on_presence_change(connection.user);
    }
    // A client may have left only the namespace; its transport has no other use.
    if let Some(transport) = transport_of(socket) {
        state.engine.close(&transport);
    }
}

/// Replaces the token of a connection by a newer one of the same user.
async fn renew(state: &SharedState, socket: &SocketRef, body: Option<Authenticate>) -> Authenticated {
    let refuse = |error: Error| Authenticated::refused(ProblemDetails::from(&error));
    let Some(Authenticate { token }) = body else { return refuse(Error::NOT_AUTHENTICATED) };
    let caller = match verify(state, without_scheme(&token)).await {
        Ok(caller) => caller,
        Err(error) => return refuse(error),
    };
    let Some(connection) = state.registry.renew(socket.id, &caller) else {
        return refuse(Error::INVALID_TOKEN);
    };
    if state.sessions.has_ended(caller.session) {
        connection.close();
        return refuse(Error::INVALID_TOKEN);
    }
    Authenticated::until(caller.expires_at)
}

#[cfg(test)]
mod tests {
    use super::without_scheme;

    #[test]
    fn token_is_accepted_with_and_without_its_scheme() {
        for token in ["abc", "Bearer abc", "bearer  abc"] {
            assert_eq!(without_scheme(token), "abc");
        }
    }
}
