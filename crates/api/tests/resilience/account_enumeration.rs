//! Responses and their times do not reveal whether an account exists.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Process, User},
    resilience::report,
};

/// The parts of a response that do not differ between requests.
#[derive(Debug, PartialEq)]
struct Visible {
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
}

async fn send(server: &Process, path: &str, body: &Value) -> (Visible, Duration) {
    let start = Instant::now();
    let response = server.request(Method::POST, path).json(body).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.unwrap();
    let took = start.elapsed();
    let mut body: Value = serde_json::from_slice(&bytes).unwrap();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
        // Random, but always of the same form.
        if let Some(id) = body.get_mut("registration_id") {
            *id = id.as_str().map(str::len).into();
        }
    }
    let varies = ["x-request-id", "date"];
    let mut headers: Vec<(String, String)> = headers
        .iter()
        .filter(|(name, _)| !varies.contains(&name.as_str()))
        .map(|(name, value)| {
            // Each worker has the names of a list in an order of its own.
            let mut values: Vec<&str> = value.to_str().unwrap().split(", ").collect();
            values.sort_unstable();
            (name.to_string(), values.join(", "))
        })
        .collect();
    headers.sort();
    (Visible { status, headers, body }, took)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A path, a body that names an existing account, and one that names none.
fn cases(ann: &User, n: usize) -> Vec<(&'static str, Value, Value)> {
    let login = |username: &str| json!({"username": username, "password": "not the password"});
    let forgot = |name: &str| json!({"email": format!("{name}@example.com")});
    let register = |email: &str, name: String| {
        let email = format!("{email}@example.com");
        json!({"username": name, "email": email, "password": "a long password"})
    };
    vec![
        ("/users/login", login("ann"), login("nobody")),
        ("/users/login", login(&ann.email), login("nobody@example.com")),
        ("/users/forgot-password", forgot("ann"), forgot("nobody")),
        (
            "/users/register",
            register("ann", format!("there{n}")),
            register(&format!("new{n}"), format!("absent{n}")),
        ),
    ]
}

async fn compare_responses(pairs: usize, timed: bool) {
    let mut server = Process::new(&[("HIDE_REGISTERED_EMAILS", "true")]);
    server.launch().await;
    let ann = server.create_user("ann").await;
    let (mut checks, mut failures) = (0, Vec::new());
    for which in 0..cases(&ann, 0).len() {
        let (mut there, mut absent) = (Vec::new(), Vec::new());
        for n in 0..pairs {
            let (path, existing, missing) = cases(&ann, n).swap_remove(which);
            // Alternates, so that neither is always first.
            let (one, other) = if n % 2 == 0 {
                let one = send(&server, path, &existing).await;
                (one, send(&server, path, &missing).await)
            } else {
                let other = send(&server, path, &missing).await;
                (send(&server, path, &existing).await, other)
            };
            checks += 1;
            if one.0 != other.0 {
                failures.push(format!("{path}: {:?} and {:?}", one.0, other.0));
            }
            there.push(one.1);
            absent.push(other.1);
        }
        let (there, absent) = (median(there), median(absent));
        let allowed = (there.max(absent) / 20).max(Duration::from_millis(10));
        if timed && there.abs_diff(absent) > allowed {
            failures.push(format!("{:?}: {there:?} and {absent:?}", cases(&ann, 0)[which].0));
        }
    }
    report("whether an account exists", checks, &failures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_do_not_reveal_whether_an_account_exists() {
    compare_responses(3, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just resilience"]
async fn response_times_do_not_reveal_whether_an_account_exists() {
    compare_responses(60, true).await;
}
