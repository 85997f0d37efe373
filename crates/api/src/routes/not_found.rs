//! The response to requests that match no route.

use actix_router::ResourceDef;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web::Data,
};

use crate::error::ApiError;

/// Each path pattern with the methods of its routes, separated by commas.
pub(crate) struct AllowedMethods(Vec<(ResourceDef, String)>);

impl AllowedMethods {
    /// Reads the paths of an OpenAPI document, and adds undocumented ones, which have `GET` only.
    pub(crate) fn new(document: &serde_json::Value, undocumented: &[&str]) -> Self {
        let documented = document["paths"].as_object().into_iter().flatten().map(|(path, item)| {
            let methods = item.as_object().into_iter().flat_map(|item| item.keys());
            (path.as_str(), methods.map(|method| method.to_uppercase()).collect::<Vec<_>>())
        });
        let undocumented = undocumented.iter().map(|path| (*path, vec!["GET".to_owned()]));
        let paths = documented.chain(undocumented).map(|(path, mut methods)| {
            if methods.iter().any(|method| method == "GET") && path != "/users/refresh" {
                methods.push("HEAD".to_owned());
            }
            let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
            (ResourceDef::new(path.to_owned()), methods.join(", "))
        });
        Self(paths.collect())
    }

    fn of(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|(pattern, _)| pattern.is_match(path)).map(|(_, methods)| methods.as_str())
    }
}

/// Returns the methods of the path for `OPTIONS`, which some health checks send; 405 if the path exists with other methods;
/// else 404.
pub(crate) async fn not_found(request: HttpRequest, allowed: Data<AllowedMethods>) -> HttpResponse {
    match allowed.of(request.path()) {
        Some(methods) if request.method() == Method::OPTIONS => {
            HttpResponse::NoContent().insert_header((header::ALLOW, format!("{methods}, OPTIONS"))).finish()
        }
        Some(methods) => HttpResponse::from_error(ApiError::method_not_allowed(methods)),
        None => HttpResponse::from_error(ApiError::of_status(404)),
    }
}
