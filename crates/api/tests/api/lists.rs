use std::collections::HashSet;

use serde_json::{Value, json};

use crate::helpers::{Server, User};

fn ids(list: &Value) -> Vec<i64> {
    list["posts"].as_array().unwrap().iter().map(|post| post["id"].as_i64().unwrap()).collect()
}

async fn with_posts(server: &Server, count: i64) -> (User, Vec<i64>) {
    let ann = server.user("ann").await;
    let mut posts = Vec::new();
    for n in 0..count {
        posts.push(server.new_post(&ann, &format!("post {n}"), n % 2 == 1).await);
    }
    posts.reverse();
    (ann, posts)
}

test_support::on_both_databases! {
    async fn a_list_comes_in_pages(db: TestDatabase) {
        let server = Server::start(&db).await;
        let (ann, posts) = with_posts(&server, 7).await;
        let first = server.get("/posts/?page_size=3", &ann).await.ok();
        assert_eq!(ids(&first), posts[..3]);
        let info = |list: &Value| ["total", "page", "page_size", "total_pages"].map(|key| list[key].as_i64().unwrap());
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

    async fn bounds_of_pages_are_told(db: TestDatabase) {
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
        ] {
            for (list, user) in [("/posts/", Some(&ann)), ("/notifications", Some(&ann)), (followers.as_str(), None)] {
                let answer = server.get(&format!("{list}?{query}"), user).await;
                let error = &answer.json["errors"][0];
                assert_eq!((answer.status, &error["type"]), (422, &json!(kind)), "{list} {query}");
                assert_eq!(error["loc"], json!(["query", name]));
            }
        }
        assert_eq!(server.get("/posts/?page=&page_size=", &ann).await.status, 200);
    }

    async fn cursors_meet_every_item_once_also_while_new_ones_come(db: TestDatabase) {
        let server = Server::start(&db).await;
        let (ann, posts) = with_posts(&server, 9).await;
        let (mut seen, mut path) = (Vec::new(), "/posts/?page_size=2".to_owned());
        loop {
            let page = server.get(&path, &ann).await.ok();
            seen.extend(ids(&page));
            server.new_post(&ann, "newer", false).await;
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/posts/?page_size=2&cursor={cursor}");
        }
        assert_eq!(seen, posts);
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len());
    }

    async fn a_cursor_of_another_list_or_of_another_hand_is_refused(db: TestDatabase) {
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

    async fn links_lead_through_the_list(db: TestDatabase) {
        let server = Server::start(&db).await;
        let (ann, _) = with_posts(&server, 5).await;
        let links = async |path: &str| {
            let header = server.get(path, &ann).await.header("link").unwrap_or_default();
            header.split(", ").filter(|link| !link.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let link = |page: i64, relation: &str| format!("</posts?user_id=me&page_size=2&page={page}>; rel=\"{relation}\"");
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
}
