//! Concurrent writes of several users, recorded, and the check that every acknowledged write is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{ApiClient, User};

/// Status and body of a response, or `None` if no complete response arrived.
type Outcome = Option<(u16, Value)>;

/// Known effect of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    There,
    Absent,
    /// Without a conclusive response: the write may have happened or not.
    Unknown,
}

impl Effect {
    fn after(response: &Outcome, done: Self, before: Self) -> Self {
        match response {
            // 400 means that it was done before.
            Some((200 | 400, _)) => done,
            Some((..500, _)) => before,
            // A server that lost its database does not know whether the last commit reached the disk.
            Some(_) | None => Self::Unknown,
        }
    }

    fn fits(self, is_there: bool) -> bool {
        match self {
            Self::There => is_there,
            Self::Absent => !is_there,
            Self::Unknown => true,
        }
    }
}

/// Effects that one user's responses reported.
#[derive(Debug, Default)]
struct Record {
    posts: BTreeMap<i64, String>,
    comments: BTreeMap<i64, String>,
    refused: BTreeSet<String>,
    likes: Option<Effect>,
    follows: Option<Effect>,
    acknowledged: usize,
}

/// Users who write, and their records.
pub(crate) struct Load {
    users: Vec<User>,
    records: Vec<Record>,
    /// Post of the first user that all users like and comment on.
    post: i64,
    turn: usize,
}

/// Result of a check.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) checks: usize,
    pub(crate) failures: Vec<String>,
}

impl Load {
    /// Creates the users and their common post.
    pub(crate) async fn new(client: &ApiClient, count: usize) -> Self {
        let mut users = Vec::new();
        for n in 0..count {
            users.push(client.create_user(&format!("person{n}")).await);
        }
        let new = client.request(Method::POST, "/posts/").bearer_auth(&users[0].access);
        let (_, post) = client.try_send(new.json(&json!({"content": "meet here"}))).await.unwrap();
        let records = users.iter().map(|_| Record::default()).collect();
        Self { users, records, post: post["id"].as_i64().unwrap(), turn: 0 }
    }

    /// Writes until `stop` is set.
    pub(crate) async fn run(&mut self, client: &ApiClient, stop: Arc<AtomicBool>) {
        self.turn += 1;
        let (turn, post) = (self.turn, self.post);
        let next = self.users.iter().cycle().skip(1);
        let count = self.users.iter().zip(next).zip(&mut self.records);
        join_all(count.map(async |((user, next), record)| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                let mark = format!("{} {turn} {n}", user.name);
                if record.write(client, user, next.id, post, &mark, n).await.is_none() {
                    // The server is down.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }))
        .await;
    }

    /// Sends `requests`, `at_once` at the same time, and disconnects after a different time for each.
    pub(crate) async fn disconnect(&mut self, client: &ApiClient, requests: u64, at_once: usize) {
        let (post, count) = (self.post, self.users.len());
        // No response is read.
        for record in &mut self.records {
            record.likes = Some(Effect::Unknown);
        }
        let requests = stream::iter(0..requests).map(async |n| {
            let user = &self.users[usize::try_from(n).unwrap() % count];
            let call = |method, path: &str| client.request(method, path).bearer_auth(&user.access);
            let path = format!("/posts/{post}/{}", if n % 5 == 0 { "comment" } else { "like" });
            let request = match n % 5 {
                0 => call(Method::POST, &path).json(&json!({"content": format!("hung up {n}")})),
                1 | 2 => call(Method::POST, &path),
                3 => call(Method::DELETE, &path),
                _ => call(Method::GET, "/posts/"),
            };
            // Spreads the times over 10 ms in steps that do not repeat.
            let delay = Duration::from_micros(n * 7919 % 10_000);
            let _ = tokio::time::timeout(delay, client.try_send(request)).await;
        });
        requests.buffer_unordered(at_once).collect::<()>().await;
    }

    /// The author of the common post.
    pub(crate) fn first_user(&self) -> &User {
        &self.users[0]
    }

    /// Repeats the check until pending writes of disconnected clients have finished.
    pub(crate) async fn check_at_rest(&self, client: &ApiClient) -> Verdict {
        for _ in 0..50 {
            let verdict = self.check(client).await;
            if verdict.failures.is_empty() {
                return verdict;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.check(client).await
    }

    /// Compares the records with the stored data.
    pub(crate) async fn check(&self, client: &ApiClient) -> Verdict {
        let mut verdict = Verdict::default();
        let comments =
            all(client, &format!("/posts/{}/comment", self.post), "comments", &self.users[0]).await;
        let notifications = all(client, "/notifications/", "notifications", &self.users[0]).await;
        let mut likers = BTreeSet::new();
        for (n, (user, record)) in self.users.iter().zip(&self.records).enumerate() {
            verdict.checks += record.acknowledged;
            let own = all(client, "/posts/?user_id=me", "posts", user).await;
            let mut missing = |is_there: bool, name: &str, mark: &str| {
                if !is_there {
                    verdict.failures.push(format!("{name} {mark}"));
                }
            };
            for (id, content) in &record.posts {
                missing(own.get(id).is_some_and(|post| post["content"] == *content), "lost post", content);
            }
            for (id, content) in &record.comments {
                missing(
                    comments.get(id).is_some_and(|one| one["content"] == *content),
                    "lost comment",
                    content,
                );
            }
            for one in own.values().chain(comments.values()) {
                let content = one["content"].as_str().unwrap_or_default();
                missing(!record.refused.contains(content), "refused and stored", content);
            }
            let post = client.get(&format!("/posts/{}", self.post), user).await.ok();
            let likes = post["liked_by_me"] == true;
            if likes {
                likers.insert(user.id);
            }
            let like = record.likes.unwrap_or(Effect::Absent);
            missing(like.fits(likes), &format!("like, recorded {like:?}, of"), &user.name);
            let next = &self.users[(n + 1) % self.users.len()];
            let path = format!("/users/{}/followers?page_size=100", next.id);
            let followers = client.get(&path, user).await.ok();
            let follows = followers["followers"].as_array().unwrap().iter().any(|one| one["id"] == user.id);
            let follow = record.follows.unwrap_or(Effect::Absent);
            missing(follow.fits(follows), &format!("follow, recorded {follow:?}, of"), &user.name);
        }
        let post = client.get(&format!("/posts/{}", self.post), &self.users[0]).await.ok();
        let mut same = |a: usize, b: usize, name: &str| {
            if a != b {
                verdict.failures.push(format!("{name}: {a} and {b}"));
            }
        };
        let number = |value: &Value| usize::try_from(value.as_i64().unwrap()).unwrap();
        same(number(&post["likes_count"]), likers.len(), "likes_count and likes");
        same(number(&post["comments_count"]), comments.len(), "comments_count and comments");
        let owner = self.users[0].id;
        let of = |kind: &str| notifications.values().filter(|one| one["type"] == kind).count();
        same(of("like"), likers.iter().filter(|id| **id != owner).count(), "notifications and likes");
        let by_others = comments.values().filter(|one| one["user_id"] != owner).count();
        same(of("comment"), by_others, "notifications and comments");
        verdict
    }
}

impl Record {
    async fn write(
        &mut self,
        client: &ApiClient,
        user: &User,
        next: i64,
        post: i64,
        mark: &str,
        n: usize,
    ) -> Outcome {
        let call = |method, path: &str| client.request(method, path).bearer_auth(&user.access);
        let toggle = |is: Option<Effect>| match is {
            Some(Effect::There) => (Method::DELETE, Effect::Absent),
            _ => (Method::POST, Effect::There),
        };
        let response = match n % 5 {
            0 => {
                let response =
                    client.try_send(call(Method::POST, "/posts/").json(&json!({"content": mark}))).await;
                record_id(&response, &mut self.posts, mark);
                response
            }
            1 => {
                let comment = call(Method::POST, &format!("/posts/{post}/comment"));
                let response = client.try_send(comment.json(&json!({"content": mark}))).await;
                record_id(&response, &mut self.comments, mark);
                response
            }
            2 => {
                let (method, done) = toggle(self.likes);
                let response = client.try_send(call(method, &format!("/posts/{post}/like"))).await;
                self.likes = Some(Effect::after(&response, done, self.likes.unwrap_or(Effect::Absent)));
                response
            }
            3 => {
                let (method, done) = toggle(self.follows);
                let action = if done == Effect::There { "follow" } else { "unfollow" };
                let response = client.try_send(call(method, &format!("/users/{next}/{action}"))).await;
                self.follows = Some(Effect::after(&response, done, self.follows.unwrap_or(Effect::Absent)));
                response
            }
            _ => {
                let content = format!("{mark}{}", "x".repeat(5000));
                let response =
                    client.try_send(call(Method::POST, "/posts/").json(&json!({"content": content}))).await;
                if response.as_ref().is_some_and(|(status, _)| *status >= 400) {
                    self.refused.insert(content);
                }
                response
            }
        };
        self.acknowledged += usize::from(matches!(response, Some((200, _))));
        response
    }
}

fn record_id(response: &Outcome, ids: &mut BTreeMap<i64, String>, mark: &str) {
    if let Some((200, body)) = response {
        ids.insert(body["id"].as_i64().unwrap(), mark.to_owned());
    }
}

/// Returns a whole list by id.
pub(crate) async fn all(client: &ApiClient, path: &str, name: &str, user: &User) -> BTreeMap<i64, Value> {
    let mut found = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let separator = if path.contains('?') { '&' } else { '?' };
        let page = client.get(&format!("{path}{separator}page_size=100{cursor}"), user).await.ok();
        for one in page[name].as_array().unwrap() {
            found.insert(one["id"].as_i64().unwrap(), one.clone());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}
