//! The server as its clients see it, on PostgreSQL and on SQLite; every answer is held against the OpenAPI document.

#![allow(clippy::unwrap_used)] // a test may panic anywhere

mod access;
mod browser;
mod cloudinary;
mod concurrency;
mod contract;
mod doctor;
mod faults;
mod helpers;
mod http;
mod killed;
mod limits;
mod lists;
mod live;
mod live_processes;
mod media;
mod metrics;
mod operations;
mod posts;
mod privacy;
mod process;
mod program;
mod refused;
mod rows;
mod security;
mod seed;
mod seeds;
mod sessions;
mod shapes;
mod slow;
mod social;
mod users;
mod videos;
mod wire;
