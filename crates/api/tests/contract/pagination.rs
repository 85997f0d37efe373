//! Pages, cursors and the order of every list.

use std::collections::HashSet;

use serde_json::{Value, json};
use test_support::{TestDatabase, database_test};

use crate::harness::{Server, User, create_users};

fn ids(list: &Value) -> Vec<i64> {
    list["posts"].as_array().unwrap().iter().map(|post| post["id"].as_i64().unwrap()).collect()
}

async fn with_posts(server: &Server, count: i64) -> (User, Vec<i64>) {
    let ann = server.create_user("ann").await;
    let mut posts = Vec::new();
    for n in 0..count {
        posts.push(server.create_post(&ann, &format!("post {n}"), n % 2 == 1).await);
    }
    posts.reverse();
    (ann, posts)
}

/// Walks a list by cursors and returns the ids of all items.
async fn walk_by_cursor(server: &Server, user: &User, path: &str, name: &str) -> Vec<i64> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    let joint = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = server.get(&format!("{path}{joint}page_size=2&cursor={cursor}"), user).await.ok();
        let items = page[name].as_array().unwrap();
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|item| item["id"].as_i64().unwrap()));
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return seen,
        }
    }
}

/// Walks a list by page numbers and returns the ids of all items.
async fn walk_by_number(server: &Server, user: &User, path: &str, name: &str) -> Vec<i64> {
    let mut seen = Vec::new();
    let joint = if path.contains('?') { '&' } else { '?' };
    for number in 1.. {
        let page = server.get(&format!("{path}{joint}limit=2&page={number}"), user).await.ok();
        seen.extend(page[name].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()));
        if number >= page["total_pages"].as_i64().unwrap() {
            assert_eq!(page["total"], seen.len());
            break;
        }
    }
    seen
}

#[database_test]
async fn every_list_is_newest_first_even_with_equal_timestamps(db: TestDatabase) {
    let key = application::random::token::<32>().unwrap();
    let users = create_users(&db, &key, 6).await;
    let server = Server::start_with(&db, &[("SECRET_KEY", &key)]).await;
    let ann = &users[0];
    let mut posts = Vec::new();
    for (n, user) in users.iter().cycle().take(7).enumerate() {
        posts.push(server.create_post(user, "hi", user.id == ann.id && n > 0).await);
    }
    let (post, mut comments) = (server.create_post(ann, "mine", false).await, Vec::new());
    posts.push(post);
    for user in &users[1..] {
        let comment =
            server.post(&format!("/posts/{post}/comment"), user, json!({"content": "x"})).await.ok();
        comments.push(comment["id"].as_i64().unwrap());
        server.post(&format!("/users/{}/follow", ann.id), user, json!(null)).await.ok();
        server.post(&format!("/users/{}/follow", user.id), ann, json!(null)).await.ok();
    }
    for table in ["posts", "comments", "follows"] {
        db.execute(&format!("UPDATE {table} SET created_at = (SELECT min(created_at) FROM {table})")).await;
    }
    let mut others: Vec<i64> = users[1..].iter().map(|user| user.id).collect();
    let notifications = server.get("/notifications/?page_size=100", ann).await.ok();
    let notifications: Vec<_> = notifications["notifications"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_i64().unwrap())
        .collect();
    for ids in [&mut posts, &mut comments, &mut others] {
        ids.reverse();
    }
    let own: Vec<_> = [0, 1, 7].map(|at| posts[at]).to_vec();
    let (a, b) = (format!("/users/{}/followers", ann.id), format!("/users/{}/following", ann.id));
    for (path, name, expected) in [
        ("/posts/", "posts", &posts),
        ("/posts/?user_id=me", "posts", &own),
        (&format!("/posts/{post}/comment"), "comments", &comments),
        (&a, "followers", &others),
        (&b, "following", &others),
        ("/notifications/?unread_only=1", "notifications", &notifications),
    ] {
        assert_eq!(walk_by_cursor(&server, ann, path, name).await, *expected, "{path}");
        assert_eq!(walk_by_number(&server, ann, path, name).await, *expected, "{path}");
    }
    assert!(
        notifications.len() == 10 && notifications.is_sorted_by(|one, next| one > next),
        "{notifications:?}"
    );
}

#[database_test]
async fn cursor_survives_deletion_of_its_item_and_is_bound_to_its_list(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, posts) = with_posts(&server, 6).await;
    let page = server.get("/posts/?page_size=2", &ann).await.ok();
    let cursor = page["next_cursor"].as_str().unwrap();
    server.delete(&format!("/posts/{}", posts[1]), &ann).await.ok();
    server.delete(&format!("/posts/{}", posts[2]), &ann).await.ok();
    // With a cursor, the page number is ignored.
    let next = server.get(&format!("/posts/?page=77&page_size=2&cursor={cursor}"), &ann).await.ok();
    assert_eq!(ids(&next), posts[3..5]);
    let list = format!("/posts/{}/comment", posts[0]);
    for path in [format!("{list}?cursor={cursor}"), format!("/users/{}/followers?cursor={cursor}", ann.id)] {
        assert_eq!(server.get(&path, &ann).await.problem(), (400, "Invalid cursor"), "{path}");
    }
}

#[database_test]
async fn deep_pages_by_number_are_rejected_except_in_the_feed(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, _) = with_posts(&server, 1).await;
    db.execute("UPDATE feed_total SET posts = 300000").await;
    db.execute("UPDATE user_counters SET posts = 300000").await;
    let deep = server.get("/posts/?user_id=me&page_size=100&page=102", &ann).await;
    assert_eq!((deep.status, &deep.json["code"]), (400, &json!("page_too_deep")));
    for path in ["user_id=me&page=101", "user_id=me&page=9000", "page=102", "page=9000"] {
        let page = server.get(&format!("/posts/?page_size=100&{path}"), &ann).await.ok();
        assert_eq!(page["posts"], json!([]), "{path}");
    }
}

#[database_test]
async fn list_returns_the_requested_page_and_totals(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, posts) = with_posts(&server, 7).await;
    let first = server.get("/posts/?page_size=3", &ann).await.ok();
    assert_eq!(ids(&first), posts[..3]);
    let info =
        |list: &Value| ["total", "page", "page_size", "total_pages"].map(|key| list[key].as_i64().unwrap());
    assert_eq!(info(&first), [7, 1, 3, 3]);
    let last = server.get("/posts/?page=3&limit=3", &ann).await.ok();
    assert_eq!((ids(&last), info(&last)), (vec![posts[6]], [7, 3, 3, 3]));
    assert_eq!(last["next_cursor"], json!(null));
    for far in ["4", "1000000000000", "9007199254740991"] {
        let beyond = server.get(&format!("/posts/?page={far}&page_size=3"), &ann).await.ok();
        assert_eq!((ids(&beyond), &beyond["total"]), (vec![], &json!(7)), "{far}");
    }
    let empty = server.get("/notifications/", &ann).await.ok();
    assert_eq!((info(&empty), &empty["notifications"]), ([0, 1, 10, 0], &json!([])));
}

#[database_test]
async fn page_parameters_out_of_bounds_return_422(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, _) = with_posts(&server, 1).await;
    let followers = format!("/users/{}/followers", ann.id);
    for (query, name, kind) in [
        ("page=0", "page", "greater_than_equal"),
        ("page=-1", "page", "greater_than_equal"),
        ("page=x", "page", "int_parsing"),
        ("page=1.5", "page", "int_parsing"),
        ("page=9007199254740992", "page", "less_than_equal"),
        ("page=1000000000000000000000000000000", "page", "less_than_equal"),
        ("page_size=0", "page_size", "greater_than_equal"),
        ("page_size=101", "page_size", "less_than_equal"),
        ("limit=101", "limit", "less_than_equal"),
        // Unused, but still validated.
        ("page_size=5&limit=x", "limit", "int_parsing"),
    ] {
        for (list, user) in
            [("/posts/", Some(&ann)), ("/notifications", Some(&ann)), (followers.as_str(), None)]
        {
            let response = server.get(&format!("{list}?{query}"), user).await;
            let error = &response.json["errors"][0];
            assert_eq!((response.status, &error["type"]), (422, &json!(kind)), "{list} {query}");
            assert_eq!(error["loc"], json!(["query", name]));
        }
    }
    assert_eq!(server.get("/posts/?page=&page_size=", &ann).await.status, 200);
}

#[database_test]
async fn cursors_visit_each_item_once_while_items_are_added(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, posts) = with_posts(&server, 9).await;
    let (mut seen, mut path) = (Vec::new(), "/posts/?page_size=2".to_owned());
    loop {
        let page = server.get(&path, &ann).await.ok();
        seen.extend(ids(&page));
        server.create_post(&ann, "newer", false).await;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/posts/?page_size=2&cursor={cursor}");
    }
    assert_eq!(seen, posts);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len());
}

#[database_test]
async fn foreign_and_forged_cursors_are_rejected(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, _) = with_posts(&server, 3).await;
    let page = server.get("/posts/?page_size=1", &ann).await.ok();
    let cursor = page["next_cursor"].as_str().unwrap();
    let mut altered = cursor.to_owned();
    altered.replace_range(0..1, if cursor.starts_with('A') { "B" } else { "A" });
    for path in [
        format!("/posts/?user_id=me&cursor={cursor}"),
        format!("/notifications/?cursor={cursor}"),
        format!("/posts/?cursor={altered}"),
        "/posts/?cursor=x".to_owned(),
    ] {
        assert_eq!(server.get(&path, &ann).await.problem(), (400, "Invalid cursor"), "{path}");
    }
}

#[database_test]
async fn link_header_names_next_prev_first_and_last_page(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, _) = with_posts(&server, 5).await;
    let links = async |path: &str| {
        let header = server.get(path, &ann).await.header("link").unwrap_or_default();
        header.split(", ").filter(|link| !link.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let link = |page: i64, relation: &str| {
        format!("</posts?user_id=me&page_size=2&page={page}>; rel=\"{relation}\"")
    };
    let path = |page: i64| format!("/posts/?user_id=me&page_size=2&page={page}");
    assert_eq!(links(&path(1)).await, [link(2, "next"), link(1, "first"), link(3, "last")]);
    assert_eq!(links(&path(2)).await, [link(3, "next"), link(1, "prev"), link(1, "first"), link(3, "last")]);
    assert_eq!(links(&path(3)).await, [link(2, "prev"), link(1, "first"), link(3, "last")]);
    assert_eq!(links(&path(9)).await[0], link(3, "prev"));
    assert_eq!(links("/notifications/").await, [""; 0]);
    let next = server.get(&path(1), &ann).await.ok()["next_cursor"].as_str().unwrap().to_owned();
    let by_cursor = links(&format!("/posts/?page_size=2&user_id=me&cursor={next}")).await;
    assert!(by_cursor[0].contains("cursor=") && by_cursor[0].ends_with("rel=\"next\""), "{by_cursor:?}");
}
