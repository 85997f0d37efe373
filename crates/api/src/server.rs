//! The HTTP server: routes, what is wrapped around them, and its limits.

use std::{net::TcpListener, sync::LazyLock, time::Duration};

use actix_cors::Cors;
use actix_router::ResourceDef;
use actix_web::{
    App as Actix, HttpRequest, HttpResponse,
    dev::Server,
    middleware::from_fn,
    web::{self, Data},
};
use utoipa_actix_web::{AppExt as _, service_config::ServiceConfig};

use crate::{
    app::{App, PATIENCE, listen},
    config::Config,
    error::ApiError,
    limits, observe, openapi,
    routes::{
        comments, docs, follows, inbox, media, notifications, operations, posts, sessions, socketio, users,
    },
};

/// How long requests that have begun may go on when the server stops.
const GRACE: Duration = Duration::from_secs(7);

/// Every documented route. They are tried in this order, so what is asked for most comes first.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(posts::create)
        .service(posts::list)
        .service(posts::get)
        .service(posts::update)
        .service(posts::delete)
        .service(posts::like)
        .service(posts::unlike)
        .service(comments::add)
        .service(comments::list)
        .service(comments::update)
        .service(comments::delete)
        .service(notifications::list)
        .service(notifications::mark_all_read)
        // Not for those who take it for an id.
        .route("/notifications/read-all", web::to(no_route))
        .service(notifications::mark_read)
        .service(notifications::delete)
        .service(users::register)
        .service(users::verify_otp)
        .service(users::login)
        .service(users::refresh)
        .service(users::refresh_by_body)
        .service(users::logout)
        .service(users::change_password)
        .service(users::forgot_password)
        .service(users::reset_password)
        .service(users::me)
        .service(sessions::list)
        .service(sessions::end)
        .service(sessions::end_others)
        .service(follows::follow)
        .service(follows::unfollow)
        .service(follows::followers)
        .service(follows::following)
        .service(socketio::status)
        .service(media::load)
        .service(docs::problem_list)
        .service(docs::problem)
        .service(operations::live)
        .service(operations::ready)
        .service(inbox::page)
        .service(inbox::latest);
}

/// Starts to serve on `listener`.
pub fn serve(app: Data<App>, config: &Config, listener: TcpListener) -> std::io::Result<Server> {
    let origins = config.cors_origins.clone();
    let server = Server::build().workers(config.workers).disable_signals().shutdown_timeout(GRACE.as_secs());
    let server = listen(server, listener, PATIENCE, move || {
        Actix::new()
            .app_data(app.clone())
            .into_utoipa_app()
            .configure(routes)
            .into_app()
            .service(docs::welcome)
            .service(docs::swagger)
            .service(docs::redoc)
            .service(docs::document)
            .service(socketio::document)
            .service(app.sockets.resource())
            .default_service(web::to(no_route))
            // The last is the outermost.
            .wrap(from_fn(observe::meant))
            .wrap(from_fn(observe::explain))
            .wrap(from_fn(limits::limit))
            .wrap(cors(&origins))
            .wrap(from_fn(observe::observe))
    })?;
    Ok(server.run())
}

fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allow_any_method()
        .allow_any_header()
        .supports_credentials()
        .expose_headers(["x-request-id", "link", "retry-after", "allow", "ratelimit", "ratelimit-policy"])
        .max_age(600);
    if origins.iter().any(|origin| origin == "*") {
        return cors.allow_any_origin();
    }
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

/// Every path with its methods, as documented.
static PATHS: LazyLock<Vec<(ResourceDef, String)>> = LazyLock::new(|| {
    let documented = openapi::document()["paths"].as_object().into_iter().flatten().map(|(path, item)| {
        let methods = item.as_object().into_iter().flat_map(|item| item.keys());
        (path.clone(), methods.map(|method| method.to_uppercase()).collect::<Vec<_>>())
    });
    let pages = ["/", "/docs", "/redoc", "/openapi.json", "/asyncapi.json"]
        .map(|path| (path.to_owned(), vec!["GET".to_owned()]));
    documented
        .chain(pages)
        .map(|(path, mut methods)| {
            if methods.iter().any(|method| method == "GET") && path != "/users/refresh" {
                methods.push("HEAD".to_owned());
            }
            let path = if path.len() > 1 { path.trim_end_matches('/') } else { &path };
            (ResourceDef::new(path.to_owned()), methods.join(", "))
        })
        .collect()
});

/// What no route takes: a path that is not there, or that has other methods.
async fn no_route(request: HttpRequest) -> HttpResponse {
    let error = match PATHS.iter().find(|(path, _)| path.is_match(request.path())) {
        Some((_, methods)) => ApiError::method_not_allowed(methods),
        None => ApiError::of_status(404),
    };
    HttpResponse::from_error(error)
}
