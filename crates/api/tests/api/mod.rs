//! Status, body and authorization of each route. Files mirror the paths of the API.

mod docs;
mod media;
mod notifications;
mod operations;
mod posts;
mod socket;
mod users;
