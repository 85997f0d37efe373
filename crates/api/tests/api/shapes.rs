//! The keys that front ends read, noun by noun: keys may be added, none may go.

use reqwest::{Method, multipart::Form};
use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::helpers::{Answer, Server, User};

const POST: &str = "id user_id author_username content media_url is_private likes_count comments_count liked_by_me \
                    created_at updated_at";
const COMMENT: &str = "id post_id user_id username content created_at updated_at";
const NOTIFICATION: &str = "id type actor_id actor_username post_id comment_id is_read created_at message";
const LIST: &str = "total page page_size total_pages next_cursor";

fn has(value: &Value, keys: &str) {
    let object = value.as_object().unwrap();
    for key in keys.split_whitespace() {
        assert!(object.contains_key(key), "{key} is not in {value}");
    }
}

#[database_test]
async fn every_key_of_every_noun_is_there_null_or_not(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let post = server.post("/posts/", &ann, json!({"content": "hi"})).await.ok();
    let path = format!("/posts/{}", post["id"]);
    let comment = server.post(&format!("{path}/comment"), &bob, json!({"content": "x"})).await.ok();
    server.post(&format!("{path}/like"), &bob, json!(null)).await.ok();
    server.post(&format!("/users/{}/follow", ann.id), &bob, json!(null)).await.ok();
    let (posts, comments) =
        (server.get("/posts", &bob).await.ok(), server.get(&format!("{path}/comment"), None).await.ok());
    let told = server.get("/notifications", &ann).await.ok();
    for shown in [
        &post,
        &posts["posts"][0],
        &server.get(&path, &bob).await.ok(),
        &server.put(&path, &ann, json!({})).await.ok(),
    ] {
        has(shown, POST);
    }
    for shown in [&comment, &comments["comments"][0]] {
        has(shown, COMMENT);
    }
    assert_eq!(told["notifications"].as_array().unwrap().len(), 3);
    told["notifications"].as_array().unwrap().iter().for_each(|one| has(one, NOTIFICATION));
    let followers = server.get(&format!("/users/{}/followers", ann.id), None).await.ok();
    let following = server.get(&format!("/users/{}/following", ann.id), None).await.ok();
    for (list, name) in [
        (&posts, "posts"),
        (&comments, "comments"),
        (&told, "notifications"),
        (&followers, "followers"),
        (&following, "following"),
    ] {
        has(list, LIST);
        assert!(list[name].is_array(), "{name}");
    }
    for list in [&followers, &following] {
        assert_eq!(list["count"], list["total"]);
        assert_eq!(list["page_size"], 100);
    }
    has(&told, "unread_count");
    let me = server.get("/users/me", &ann).await.ok();
    has(&me, "success id username email posts_count followers following followers_count following_count");
    assert_eq!(me["followers"], json!([{"id": bob.id, "username": "bob"}]));
}

#[database_test]
async fn every_word_for_yes_and_no_is_understood(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let post = async |word: &str| {
        let request = server.request(Method::POST, "/posts/").bearer_auth(&ann.access);
        let form = [("content", "x"), ("is_private", word)];
        let by_form = server.send(request.try_clone().unwrap().form(&form)).await;
        let multipart = Form::new().text("content", "x").text("is_private", word.to_owned());
        let by_multipart = server.send(request.multipart(multipart)).await;
        assert_eq!(by_form.status, by_multipart.status, "{word}");
        assert_eq!(by_form.json["is_private"], by_multipart.json["is_private"], "{word}");
        by_form
    };
    for (words, is_private) in [("true TRUE 1 yes Yes on ON", true), ("false False 0 no NO off Off", false)] {
        for word in words.split(' ') {
            assert_eq!(post(word).await.ok()["is_private"], is_private, "{word}");
        }
    }
    assert_eq!(post("").await.ok()["is_private"], false);
    for word in ["2", "maybe", "null", "tru", "-1"] {
        let answer = post(word).await;
        assert_eq!(
            (answer.status, &answer.json["errors"][0]["type"]),
            (422, &json!("bool_parsing")),
            "{word}"
        );
        assert_eq!(answer.json["errors"][0]["loc"], json!(["body", "is_private"]));
    }
}

#[database_test]
async fn an_id_that_cannot_be_is_one_that_is_not(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.user("ann").await;
    let post = server.new_post(&ann, "hi", false).await;
    let routes = [
        (Method::GET, "/posts/{}", "Post not found"),
        (Method::DELETE, "/posts/{}", "Post not found"),
        (Method::POST, "/posts/{}/like", "Post not found"),
        (Method::DELETE, "/posts/{}/like", "Post not found"),
        (Method::GET, "/posts/{}/comment", "Post not found"),
        (Method::DELETE, "/posts/{}/comment/1", "Post not found"),
        (Method::DELETE, &format!("/posts/{post}/comment/{{}}"), "Comment not found"),
        (Method::POST, "/users/{}/follow", "User not found"),
        (Method::DELETE, "/users/{}/unfollow", "User not found"),
        (Method::GET, "/users/{}/followers", "User not found"),
        (Method::GET, "/users/{}/following", "User not found"),
        (Method::PUT, "/notifications/{}/read", "Notification not found"),
        (Method::DELETE, "/notifications/{}", "Notification not found"),
    ];
    let ask = async |method: &Method, path: &str, id: &str, user: &User| -> Answer {
        server.send(server.request(method.clone(), &path.replace("{}", id)).bearer_auth(&user.access)).await
    };
    for (method, path, told) in &routes {
        let nine = "9".repeat(40);
        for id in [
            "0",
            "-1",
            "9007199254740992",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775809",
            &nine,
        ] {
            assert_eq!(ask(method, path, id, &ann).await.problem(), (404, *told), "{method} {path} {id}");
        }
        for id in ["x", "1.0", "1e3", "0x1", "%00", "%FF", "1%00", "%EF%BC%91", "null", "1;drop", "--1", "me"]
        {
            let answer = ask(method, path, id, &ann).await;
            assert_eq!(
                (answer.status, &answer.json["errors"][0]["type"]),
                (422, &json!("int_parsing")),
                "{method} {path} {id}"
            );
            assert_eq!(answer.json["errors"][0]["loc"][0], "path");
        }
    }
}
