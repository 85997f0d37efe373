//! Connecting: who is let in, and what they are told first.

use std::sync::Arc;

use api_types::{ProblemDetails, bearer_token};
use domain::{Error, notifications::NotificationId};
use serde_json::Value;
use socketioxide::{
    extract::{AckSender, SocketRef, TryData},
    handler::ConnectHandler,
};

use crate::{
    bridge::{Carried, REJECTED},
    connection::{Connection, Sent},
    events::{Authenticate, Authenticated, Connected, NewNotification, ReplayComplete, names},
    hub::Hub,
    transport::{Admitted, Transport},
};

/// What a refused client sees as `err.message`; the bridge adds the data.
#[derive(Debug)]
struct Rejected;

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(REJECTED)
    }
}

/// Sets the handlers of the one namespace that there is.
pub(crate) fn serve(hub: &Arc<Hub>) {
    let (gate, inside) = (hub.clone(), hub.clone());
    let welcome = move |socket: SocketRef| {
        let hub = inside.clone();
        async move { welcome(&hub, &socket) }
    };
    let admit = move |socket: SocketRef, TryData(auth): TryData<Value>| {
        let hub = gate.clone();
        async move { admit(&hub, &socket, auth.ok()).await }
    };
    hub.io.ns("/", welcome.with(admit));
}

/// Lets in whoever shows a good token.
async fn admit(hub: &Arc<Hub>, socket: &SocketRef, auth: Option<Value>) -> Result<(), Rejected> {
    let Some(Carried(transport)) = socket.req_parts().extensions.get::<Carried>().cloned() else {
        return Err(Rejected);
    };
    hub.transports.name(&transport, socket.id);
    let shown = Shown::new(auth.as_ref(), &transport);
    let result = match shown.token {
        Some(token) => {
            let use_cases = hub.use_cases.clone();
            hub.on_runtime(async move { use_cases.authenticate(token).await }).await
        }
        None => Err(Error::NOT_AUTHENTICATED),
    };
    match result {
        Ok(caller) => {
            transport.admit(Admitted { caller, since: shown.since });
            Ok(())
        }
        Err(error) => {
            if matches!(error, Error::Internal(_) | Error::Unavailable(..)) {
                tracing::warn!(%error, "a connection cannot be authenticated");
            }
            hub.counters.rejected.add();
            transport.reject(ProblemDetails::from(&error));
            Err(Rejected)
        }
    }
}

/// What a client shows: in `auth`, else in the query of its first request, else in the header of that.
struct Shown {
    token: Option<String>,
    since: Option<NotificationId>,
}

impl Shown {
    fn new(auth: Option<&Value>, transport: &Transport) -> Self {
        let query = transport.query();
        let token = auth.and_then(|auth| auth.get("token")?.as_str()).filter(|token| !token.is_empty());
        let since = auth.and_then(|auth| {
            let since = auth.get("since")?;
            since.as_i64().or_else(|| since.as_str()?.parse().ok())
        });
        Self {
            token: token.map(without_scheme).or_else(|| query.token.clone()),
            since: since.map(NotificationId).or(query.since),
        }
    }
}

/// Strips the scheme from clients that send the token as they would in a header.
fn without_scheme(token: &str) -> String {
    bearer_token(token.as_bytes()).unwrap_or(token).to_owned()
}

fn welcome(hub: &Arc<Hub>, socket: &SocketRef) {
    let Some(Carried(transport)) = socket.req_parts().extensions.get::<Carried>().cloned() else { return };
    let Some(Admitted { caller, since }) = transport.take_admitted() else { return hub.close(&transport) };
    socket.on_disconnect({
        let hub = hub.clone();
        move |socket: SocketRef| {
            let hub = hub.clone();
            async move { leave(&hub, &socket) }
        }
    });
    socket.on(names::AUTHENTICATE, {
        let hub = hub.clone();
        move |socket: SocketRef, ack: AckSender, TryData(sent): TryData<Authenticate>| {
            let hub = hub.clone();
            async move {
                let answer = renew(&hub, &socket, sent.ok()).await;
                // The client may be gone.
                let _ = ack.send(&answer);
            }
        }
    });
    let connection = Arc::new(Connection::new(socket.clone(), transport, &caller));
    if !hub.registry.join(&connection) {
        return hub.close(&connection.transport);
    }
    hub.note_presence(connection.user);
    // It may have gone before anybody listened for that.
    if !socket.connected() {
        leave(hub, socket);
        return;
    }
    hub.counters.connected.add();
    let (joiner, runtime) = (hub.clone(), hub.runtime.clone());
    runtime.spawn(async move { join(&joiner, &connection, since).await });
}

fn leave(hub: &Hub, socket: &SocketRef) {
    if let Some(connection) = hub.registry.leave(socket.id) {
        hub.note_presence(connection.user);
    }
    if let Some(Carried(transport)) = socket.req_parts().extensions.get::<Carried>() {
        // A client may have left the namespace only; its transport is of no use to anybody.
        hub.close(transport);
    }
}

/// Says how things stand, sends what was missed, and lets the connection go live.
async fn join(hub: &Arc<Hub>, connection: &Arc<Connection>, since: Option<NotificationId>) {
    let unread_state = match hub.use_cases.unread_state(connection.user).await {
        Ok(unread_state) => unread_state,
        Err(error) => {
            tracing::warn!(user.id = connection.user.0, %error, "a connection cannot be told how things stand");
            return hub.close(&connection.transport);
        }
    };
    let greeting = Connected {
        message: "Connected to notification service",
        user_id: connection.user.0,
        unread_count: unread_state.unread_count,
    };
    let mut sent = connection.send(names::CONNECTED, &greeting);
    let mut cursor = unread_state.latest;
    if let (Some(since), Sent::Yes) = (since, sent) {
        let replayed;
        (replayed, sent) = replay(hub, connection, since).await;
        cursor = cursor.max(replayed);
    }
    if sent == Sent::Yes {
        hub.let_live(connection, cursor).await;
    }
    hub.settle(connection, sent);
}

/// Sends what was missed since `since`; the last that was sent.
async fn replay(hub: &Arc<Hub>, connection: &Connection, since: NotificationId) -> (NotificationId, Sent) {
    let (limit, patience) = (hub.config.max_replay, hub.config.patience);
    let rows = match hub.use_cases.missed_since(connection.user, since, limit + 1).await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::warn!(user.id = connection.user.0, %error, "missed notifications cannot be read");
            hub.close(&connection.transport);
            return (since, Sent::Gone);
        }
    };
    let mut last = NotificationId(0);
    for row in rows.iter().take(limit) {
        let sent = connection
            .send_patiently(names::NEW_NOTIFICATION, &NewNotification::new(row.clone(), true), patience)
            .await;
        if sent != Sent::Yes {
            return (last, sent);
        }
        hub.counters.replayed.add();
        last = row.id;
    }
    let complete = ReplayComplete { count: rows.len().min(limit), truncated: rows.len() > limit };
    (last, connection.send_patiently(names::REPLAY_COMPLETE, &complete, patience).await)
}

/// Lets a connection live by a newer token of its user.
async fn renew(hub: &Arc<Hub>, socket: &SocketRef, sent: Option<Authenticate>) -> Authenticated {
    let refused = |error: Error| Authenticated::refused(ProblemDetails::from(&error));
    let Some(Authenticate { token }) = sent else { return refused(Error::NOT_AUTHENTICATED) };
    let use_cases = hub.use_cases.clone();
    let token = without_scheme(&token);
    match hub.on_runtime(async move { use_cases.authenticate(token).await }).await {
        Ok(caller) => match hub.registry.find(socket.id) {
            Some(connection)
                if connection.user == caller.user && hub.registry.renew(&connection, &caller) =>
            {
                Authenticated::until(caller.expires_at)
            }
            _ => refused(Error::INVALID_TOKEN),
        },
        Err(error) => refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::without_scheme;

    #[test]
    fn a_token_is_taken_with_and_without_its_scheme() {
        for shown in ["abc", "Bearer abc", "bearer  abc"] {
            assert_eq!(without_scheme(shown), "abc");
        }
    }
}
