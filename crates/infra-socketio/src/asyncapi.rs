//! The `AsyncAPI` document of the events.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::events::{
    Authenticate, Authenticated, Connected, NewNotification, NotificationDeleted, NotificationRead,
    ReplayComplete, SessionExpiring, names,
};

/// Returns the `AsyncAPI` 3.0 document of all events. `version` is the server's.
pub fn asyncapi(version: &str) -> Value {
    let mut builder = DocumentBuilder::default();
    builder.operation::<Connected>("send", names::CONNECTED, "The first event of every connection.");
    builder.operation::<NewNotification>("send", names::NEW_NOTIFICATION,
        "A new notification, or with `replayed` a missed one. Each is sent once, in the order of ids. Exception: if an \
         action is undone and repeated within 60 seconds, its event is deferred until these have passed, so later \
         notifications may precede it.",
    );
    builder.operation::<ReplayComplete>(
        "send",
        names::REPLAY_COMPLETE,
        "The missed notifications have been sent. Only for clients that connect with `since`.",
    );
    builder.operation::<NotificationRead>(
        "send",
        names::NOTIFICATION_READ,
        "Notifications were marked as read, on any device.",
    );
    builder.operation::<NotificationDeleted>(
        "send",
        names::NOTIFICATION_DELETED,
        "A notification was deleted.",
    );
    builder.operation::<SessionExpiring>(
        "send",
        names::SESSION_EXPIRING,
        "The connection ends soon because its token expires. Send `authenticate` to keep it.",
    );
    builder.operation::<Authenticate>(
        "receive",
        names::AUTHENTICATE,
        "Replaces the access token by a newer one of the same user. Acknowledged.",
    );
    builder.message::<Authenticated>("authenticate_ack", "Acknowledges `authenticate`.");
    builder.operations[names::AUTHENTICATE]["reply"] = json!({
        "channel": {"$ref": "#/channels/notifications"},
        "messages": [{"$ref": "#/channels/notifications/messages/authenticate_ack"}],
    });
    builder.document(version)
}

/// Collects the parts of the document.
#[derive(Default)]
struct DocumentBuilder {
    schemas: Map<String, Value>,
    messages: Map<String, Value>,
    operations: Map<String, Value>,
}

impl DocumentBuilder {
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

    fn operation<T: ToSchema>(&mut self, action: &str, event: &str, summary: &str) {
        self.message::<T>(event, summary);
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
            "servers": {"local": {
                "host": "localhost:8000",
                "protocol": "ws",
                "description": "A server on this machine",
                "security": [{"$ref": "#/components/securitySchemes/token"}],
            }},
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

const DESCRIPTION: &str = "Socket.IO 5 (Engine.IO 4) at `/socket.io/`, namespace `/`, over `websocket` or `polling`.\n\n\
Connect with an access token in `auth: {token}`, in the query parameter `token` or in the `Authorization` header. \
A refused client receives `connect_error` with the message `Connection rejected by server` and a problem object as \
`data`.\n\n\
A client that connects with `since` (in `auth` or the query), the largest notification id that it received, first \
receives the notifications it missed: at most 500, with `replayed: true`, followed by `replay_complete`. Live ones \
follow. All devices of a user receive all events.";

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
    fn all_references_resolve() {
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
    fn document_contains_all_events() {
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
    fn nullable_properties_are_required_and_replayed_is_not() {
        let document = asyncapi("1.0.0");
        let required = document["components"]["schemas"]["Notification"]["required"].as_array().unwrap();
        for field in ["id", "type", "post_id", "comment_id", "created_at"] {
            assert!(required.contains(&json!(field)), "{field}");
        }
        let event = &document["components"]["schemas"]["NewNotification"];
        let is_optional = |schema: &Value| {
            let required = schema["required"].as_array();
            required.is_none_or(|required| !required.contains(&json!("replayed")))
        };
        let parts = event["allOf"].as_array().unwrap();
        assert!(parts.iter().any(|part| part["$ref"] == "#/components/schemas/Notification"), "{event}");
        assert!(parts.iter().any(|part| part["properties"]["replayed"].is_object()), "{event}");
        assert!(parts.iter().chain([event]).all(is_optional), "{event}");
    }
}
