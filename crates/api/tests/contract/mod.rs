//! Rules that hold for all routes.

mod authentication;
mod bodies;
mod browser;
mod headers;
mod hosts;
mod malformed_input;
mod openapi;
mod order_of_checks;
mod pagination;
mod parsers;
mod paths;
mod privacy;
mod rate_limits;
mod raw_http;
mod shapes;
mod snapshots;
