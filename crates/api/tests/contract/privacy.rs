//! The privacy matrix: every route, called by every role, about a post in every state. The table is `docs/privacy.md`.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::json;
use test_support::{TestDatabase, media::images::png};

use crate::harness::{PASSWORD, Response, Server, User, file_form};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/privacy.md");

const PREFACE: &str = "\
# Privacy matrix

The response of every route to every caller, on a post in every state. Written by the test `privacy`, which fails if a
response differs or a route is missing; `UPDATE_DOCS=1 cargo test -p api --test api privacy` writes it again.

The post and everything on it belong to the owner: a text, a file, a comment, a like. *Follower* follows the owner,
*other* does not; *unverified* has a token but has not verified the address. A cell has the status and, for errors, the
code. `seen` means that the response contains something of the post, `unseen` that it contains nothing. Responses about
a private post of another user are also compared, header by header, with those about a post that never existed.

";

const STATES: [&str; 4] = ["public", "private", "deleted", "never existed"];

/// Text that only responses with the post contain.
const TEXT: &str = "a text that is nowhere else";

/// A role and its user, if it has one.
struct Caller<'a> {
    role: &'static str,
    user: Option<&'a User>,
}

/// A post with its comment and file.
struct Subject {
    state: &'static str,
    post: i64,
    comment: i64,
    file: String,
}

struct Network {
    server: Server,
    db: TestDatabase,
    owner: User,
    follower: User,
    other: User,
    unverified: User,
}

impl Network {
    async fn new() -> Self {
        let db = TestDatabase::sqlite().await;
        let server = Server::start(&db).await;
        let owner = server.create_user("writer").await;
        let (follower, other) = (server.create_user("follower").await, server.create_user("other").await);
        let unverified = server.create_user("unverified").await;
        server.post(&format!("/users/{}/follow", owner.id), &follower, json!(null)).await.ok();
        let mut network = Self { server, db, owner, follower, other, unverified };
        network.unverified = network.with_new_session(&network.unverified).await;
        network
    }

    /// The same user with a session that nothing has ended.
    async fn with_new_session(&self, user: &User) -> User {
        let pair = if user.name == "unverified" {
            let verify = |is: &str| format!("UPDATE users SET is_verified = {is} WHERE id = {}", user.id);
            self.db.execute(&verify("true")).await;
            let pair = self.server.login(&user.name, PASSWORD).await.ok();
            self.db.execute(&verify("false")).await;
            pair
        } else {
            self.server.login(&user.name, PASSWORD).await.ok()
        };
        User { access: pair["access_token"].as_str().unwrap().to_owned(), ..user.clone() }
    }

    fn callers(&self) -> [Caller<'_>; 5] {
        [
            Caller { role: "anonymous", user: None },
            Caller { role: "unverified", user: Some(&self.unverified) },
            Caller { role: "other", user: Some(&self.other) },
            Caller { role: "follower", user: Some(&self.follower) },
            Caller { role: "owner", user: Some(&self.owner) },
        ]
    }

    async fn subject(&self, state: &'static str) -> Subject {
        if state == "never existed" {
            return Subject { state, post: 999_999, comment: 1, file: "AAAAAAAAAAAAAAAAAAAAAA.png".into() };
        }
        let form = file_form(png(), "a.png").text("content", TEXT);
        let form = form.text("is_private", (state == "private").to_string());
        let new =
            self.server.request(Method::POST, "/posts/").bearer_auth(&self.owner.access).multipart(form);
        let made = self.server.send(new).await.ok();
        let post = made["id"].as_i64().unwrap();
        let file = made["media_url"].as_str().unwrap().split('?').next().unwrap();
        let file = file.rsplit('/').next().unwrap().to_owned();
        let comment = json!({"content": TEXT});
        let comment = self.server.post(&format!("/posts/{post}/comment"), &self.owner, comment).await.ok();
        self.server.post(&format!("/posts/{post}/like"), &self.owner, json!(null)).await.ok();
        if state == "deleted" {
            self.server.delete(&format!("/posts/{post}"), &self.owner).await.ok();
        }
        Subject { state, post, comment: comment["id"].as_i64().unwrap(), file }
    }

    async fn send(
        &self,
        method: &Method,
        template: &str,
        caller: &Caller<'_>,
        subject: &Subject,
    ) -> Response {
        let path = template
            .replace("{post_id}", &subject.post.to_string())
            .replace("{comment_id}", &subject.comment.to_string())
            .replace("{key}", &subject.file)
            .replace("{user_id}", &self.owner.id.to_string())
            .replace("{notification_id}", "999999")
            .replace("{session_id}", "999999")
            .replace("{code}", "not_found");
        let request = self.server.request(method.clone(), &path);
        let request = if template.contains("{post_id}") && *method != Method::GET {
            request.json(&json!({"content": "another text"}))
        } else {
            request
        };
        self.server
            .send(match caller.user {
                Some(user) => request.bearer_auth(&user.access),
                None => request,
            })
            .await
    }
}

/// Returns whether the response contains the text or file of the post.
fn shows(response: &Response) -> bool {
    response.text().contains(TEXT) || response.body.starts_with(b"\x89PNG")
}

fn summarize(response: &Response, can_show: bool) -> String {
    let mut summary = response.status.to_string();
    if let Some(code) = response.json["code"].as_str().filter(|_| response.status >= 400) {
        write!(summary, " {code}").unwrap();
    } else if can_show {
        summary.push_str(if shows(response) { ", seen" } else { ", unseen" });
    }
    summary
}

fn operations() -> Vec<(Method, &'static str)> {
    let mut operations: Vec<_> = documented().collect();
    // Last, because it ends the sessions that all other requests use.
    operations.sort_by_key(|(method, path)| {
        let is_last = (method, *path) == (&Method::DELETE, "/users/me/sessions");
        (is_last, *path, method.to_string())
    });
    operations
}

fn documented() -> impl Iterator<Item = (Method, &'static str)> {
    api::docs::openapi::document()["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(|method| (method.to_uppercase().parse().unwrap(), path.as_str()))
    })
}

/// Routes that change something else than a post.
async fn line_of_others(network: &Network, method: &Method, template: &str) -> String {
    let nothing = Subject { state: "", post: 0, comment: 0, file: String::new() };
    let mut line = format!("| {method} {template} | any |");
    for caller in network.callers() {
        // The call may end the session.
        let user = match caller.user {
            Some(user) => Some(network.with_new_session(user).await),
            None => None,
        };
        let caller = Caller { role: caller.role, user: user.as_ref() };
        let response = network.send(method, template, &caller, &nothing).await;
        write!(line, " {} |", summarize(&response, false)).unwrap();
    }
    line + "\n"
}

async fn lines_of_posts(network: &Network, method: &Method, template: &str) -> String {
    let mut lines = String::new();
    let mut never = Vec::new();
    for state in ["never existed", "public", "private", "deleted"] {
        let mut line = format!("| {method} {template} | {state} |");
        for (n, caller) in network.callers().iter().enumerate() {
            // Each call may change the post, so the next one gets a new post.
            let subject = network.subject(state).await;
            let response = network.send(method, template, caller, &subject).await;
            let summary = summarize(&response, *method == Method::GET);
            write!(line, " {summary} |").unwrap();
            if subject.state == "private" && caller.role != "owner" {
                let missing: &Response = &never[n];
                assert!(
                    response.looks_like(missing),
                    "{method} {template} differs for {}: {response:?} and {missing:?}",
                    caller.role
                );
            }
            if subject.state != "never existed" && *method != Method::GET {
                network.server.delete(&format!("/posts/{}", subject.post), &network.owner).await;
            }
            if state == "never existed" {
                never.push(response);
            }
        }
        lines = if state == "never existed" { line + "\n" } else { lines + &line + "\n" };
    }
    // Requested first, for the comparison, and listed last.
    let (first, others) = lines.split_once('\n').unwrap();
    format!("{others}{first}\n")
}

/// Routes that list posts: the content of one post in each of their responses.
async fn lines_of_lists(network: &Network, template: &str) -> String {
    let mut lines = Vec::new();
    for state in STATES {
        let subject = network.subject(state).await;
        let mut line = String::new();
        for caller in network.callers() {
            let response = network.send(&Method::GET, template, &caller, &subject).await;
            let may_see = state == "public" || state == "private" && caller.role == "owner";
            assert!(
                may_see || !shows(&response),
                "GET {template} shows {} a post that is {state}",
                caller.role
            );
            write!(line, " {} |", summarize(&response, true)).unwrap();
        }
        lines.push(line);
        network.server.delete(&format!("/posts/{}", subject.post), &network.owner).await;
    }
    if lines.iter().all(|line| *line == lines[0]) {
        return format!("| GET {template} | any |{}\n", lines[0]);
    }
    let lines = STATES.iter().zip(lines).map(|(state, line)| format!("| GET {template} | {state} |{line}\n"));
    lines.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_matches_the_privacy_matrix() {
    let network = Network::new().await;
    let mut table = format!("{PREFACE}| route | post |");
    for caller in network.callers() {
        write!(table, " {} |", caller.role).unwrap();
    }
    table.push_str("\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for (method, template) in operations() {
        table += &if template.contains("{post_id}") {
            lines_of_posts(&network, &method, template).await
        } else if method == Method::GET {
            lines_of_lists(&network, template).await
        } else {
            line_of_others(&network, &method, template).await
        };
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(TABLE, &table).unwrap();
    }
    let documented = std::fs::read_to_string(TABLE).unwrap_or_default();
    for (is, was) in table.lines().zip(documented.lines()) {
        assert_eq!(is, was, "docs/privacy.md differs");
    }
    assert_eq!(table.lines().count(), documented.lines().count(), "docs/privacy.md lacks a route");
}
