//! The HTTP servers: routes, middleware and timeouts.

use std::{
    net::{IpAddr, TcpListener},
    time::Duration,
};

use actix_cors::Cors;
use actix_web::{
    App, HttpServer,
    dev::Server,
    middleware::from_fn,
    web::{self, Data},
};
use api_types::Origins;
use application::networks::network_of;
use infra_socketio::listen;
use ipnet::IpNet;
use utoipa_actix_web::AppExt as _;

use crate::{
    config::Config,
    docs::{openapi, pages},
    middleware::{
        access_log::access_log, normalize_path::normalize_path, problem::problem_middleware,
        rate_limit::rate_limit,
    },
    request::budget::{Budget, Share},
    routes::{
        self, metrics,
        not_found::{AllowedMethods, not_found},
        sockets,
    },
    state::AppState,
};

/// How long requests in progress may take once the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(7);

/// Starts to serve the API on `listener`.
pub fn serve(state: Data<AppState>, config: &Config, listener: TcpListener) -> std::io::Result<Server> {
    let origins = config.cors_origins.clone();
    let allowed = Data::new(AllowedMethods::new(openapi::document(), &pages::PATHS));
    let server = Server::build()
        .workers(config.workers)
        .disable_signals()
        .shutdown_timeout(SHUTDOWN_TIMEOUT.as_secs());
    let (connections, proxies) = (state.connections.clone(), state.trusted_proxies.clone());
    let admit = move |peer| admit(&connections, &proxies, peer);
    let server = listen(server, listener, state.connection_timeouts, admit, move || {
        // Called once in each worker.
        let state = Data::new(state.for_worker());
        App::new()
            .app_data(state.clone())
            .app_data(allowed.clone())
            .into_utoipa_app()
            .configure(routes::configure)
            .into_app()
            .service(pages::welcome)
            .service(pages::swagger)
            .service(pages::redoc)
            .service(pages::document)
            .service(sockets::document)
            .service(state.sockets.resource())
            .default_service(web::to(not_found))
            // The last is the outermost.
            .wrap(from_fn(normalize_path))
            .wrap(from_fn(problem_middleware))
            .wrap(from_fn(rate_limit))
            .wrap(cors(&origins))
            .wrap(from_fn(access_log))
    })?;
    Ok(server.run())
}

/// Counts a connection to its address, unless a trusted proxy opens it for many clients.
fn admit(connections: &Budget<IpAddr>, proxies: &[IpNet], peer: IpAddr) -> Option<Share<IpAddr>> {
    let peer = peer.to_canonical();
    let mut share = connections.share(network_of(peer));
    if !proxies.iter().any(|network| network.contains(&peer)) {
        share.grow(1).ok()?;
    }
    Some(share)
}

/// Starts to serve `/metrics` on `listener`.
pub fn serve_metrics(state: Data<AppState>, listener: TcpListener) -> std::io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new().app_data(state.clone()).route("/metrics", web::get().to(metrics::show))
    });
    Ok(server.workers(1).disable_signals().shutdown_timeout(1).listen(listener)?.run())
}

fn cors(origins: &Origins) -> Cors {
    let origins = origins.clone();
    Cors::default()
        .allowed_origin_fn(move |origin, _| origin.to_str().is_ok_and(|origin| origins.allow(origin)))
        .allow_any_method()
        .allow_any_header()
        .supports_credentials()
        .expose_headers(["x-request-id", "link", "retry-after", "allow", "ratelimit", "ratelimit-policy"])
        .max_age(600)
}
