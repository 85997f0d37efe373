//! The `AsyncAPI` document of the events, made from the types that are sent.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::events::{
    Authenticate, Authenticated, Connected, NewNotification, NotificationDeleted, NotificationRead,
    ReplayComplete, SessionExpiring, names,
};

/// The `AsyncAPI` 3.0 document of all events. `version` is that of the server.
pub fn asyncapi(version: &str) -> Value {
    let mut parts = Parts::default();
    parts.sends::<Connected>(names::CONNECTED, "The first event of every connection.");
    parts.sends::<NewNotification>(
        names::NEW_NOTIFICATION,
        "A notification has come; with `replayed`, one that was missed. In order of ids, none twice.",
    );
    parts.sends::<ReplayComplete>(
        names::REPLAY_COMPLETE,
        "All that was missed has been sent. Only to clients that connect with `since`.",
    );
    parts.sends::<NotificationRead>(
        names::NOTIFICATION_READ,
        "Notifications have been read, on whatever device.",
    );
    parts.sends::<NotificationDeleted>(names::NOTIFICATION_DELETED, "A notification is gone.");
    parts.sends::<SessionExpiring>(
        names::SESSION_EXPIRING,
        "The token expires soon, and with it the connection: send `authenticate` to keep it.",
    );
    parts.receives::<Authenticate, Authenticated>(
        names::AUTHENTICATE,
        "A newer access token of the same user. It is acknowledged.",
    );
    parts.document(version)
}

/// The document while it grows.
#[derive(Default)]
struct Parts {
    schemas: Map<String, Value>,
    messages: Map<String, Value>,
    operations: Map<String, Value>,
}

impl Parts {
    fn sends<T: ToSchema>(&mut self, event: &str, summary: &str) {
        self.message::<T>(event, summary);
        self.operation("send", event, summary);
    }

    fn receives<T: ToSchema, Ack: ToSchema>(&mut self, event: &str, summary: &str) {
        self.message::<T>(event, summary);
        let acknowledgement = format!("{event}_ack");
        self.message::<Ack>(&acknowledgement, "The acknowledgement.");
        self.operation("receive", event, summary);
        self.operations[event]["reply"] = json!({
            "channel": {"$ref": "#/channels/notifications"},
            "messages": [{"$ref": format!("#/channels/notifications/messages/{acknowledgement}")}],
        });
    }

    fn message<T: ToSchema>(&mut self, name: &str, summary: &str) {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        for (name, schema) in schemas {
            self.schemas.insert(name, json!(schema));
        }
        let payload = json!({"$ref": format!("#/components/schemas/{}", T::name())});
        self.messages.insert(
            name.to_owned(),
            json!({"name": name, "summary": summary, "contentType": "application/json", "payload": payload}),
        );
    }

    fn operation(&mut self, action: &str, event: &str, summary: &str) {
        let message = json!({"$ref": format!("#/channels/notifications/messages/{event}")});
        self.operations.insert(
            event.to_owned(),
            json!({
                "action": action, "summary": summary,
                "channel": {"$ref": "#/channels/notifications"},
                "messages": [message],
            }),
        );
    }

    fn document(self, version: &str) -> Value {
        let messages: Map<_, _> = self
            .messages
            .keys()
            .map(|name| (name.clone(), json!({"$ref": format!("#/components/messages/{name}")})))
            .collect();
        json!({
            "asyncapi": "3.0.0",
            "info": {
                "title": "Live notifications",
                "version": version,
                "description": DESCRIPTION,
                "license": {"name": "MIT"},
            },
            "defaultContentType": "application/json",
            "channels": {"notifications": {
                "address": "/socket.io/",
                "title": "The namespace / of Socket.IO",
                "messages": messages,
            }},
            "operations": self.operations,
            "components": {
                "schemas": self.schemas,
                "messages": self.messages,
                "securitySchemes": {"token": {"type": "httpApiKey", "in": "query", "name": "token"}},
            },
        })
    }
}

const DESCRIPTION: &str = "Socket.IO 5 (Engine.IO 4) at `/socket.io/`, namespace `/`, by `websocket` or `polling`.\n\n\
Connect with an access token in `auth: {token}`, in the query parameter `token` or in the `Authorization` header. \
A refused client gets `connect_error` with the message `Connection rejected by server` and the problem object as \
`data`.\n\n\
`since` in `auth` or query, the id of the last notification seen, brings what was missed: at most 500, with \
`replayed: true`, then `replay_complete`, then live ones. Every device of a user gets every event.";

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(all) => all.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = asyncapi("1.0.0");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_document_knows_all_events() {
        let document = asyncapi("1.0.0");
        for event in [
            "connected",
            "new_notification",
            "replay_complete",
            "notification_read",
            "notification_deleted",
            "session_expiring",
        ] {
            assert_eq!(document["operations"][event]["action"], "send", "{event}");
        }
        assert_eq!(document["operations"]["authenticate"]["action"], "receive");
    }

    #[test]
    fn what_may_be_null_is_there_all_the_same() {
        let document = asyncapi("1.0.0");
        let required = document["components"]["schemas"]["Notification"]["required"].as_array().unwrap();
        for field in ["id", "type", "post_id", "comment_id", "created_at"] {
            assert!(required.contains(&json!(field)), "{field}");
        }
    }
}
