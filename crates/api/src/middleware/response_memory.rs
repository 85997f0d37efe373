//! Counts large responses to the memory of their client until it has read them.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage as _,
    body::{BodySize, BoxBody, MessageBody},
    dev::ServiceResponse,
    web::Bytes,
};

use super::request_id::RequestId;
use crate::{
    error::ApiError,
    request::budget::{Budget, Share},
};

/// Smaller responses are not counted: the number of connections bounds them.
const MAX_UNCOUNTED_BYTES: u64 = 64 * 1024;
/// The server copies this much at a time into its write buffer, and frees the body after the last piece.
const PIECE_BYTES: usize = 16 * 1024;

/// Counts the body of a response if it is large and in memory. If the client holds too much already, the response becomes
/// an error.
pub(super) fn bound_response(
    response: ServiceResponse<BoxBody>,
    memory: &Budget<IpAddr>,
    address: IpAddr,
) -> ServiceResponse<BoxBody> {
    match response.response().body().size() {
        BodySize::Sized(size) if size > MAX_UNCOUNTED_BYTES => {}
        _ => return response,
    }
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    let response = match body.try_into_bytes() {
        // Read from a file while it is sent.
        Err(stream) => head.set_body(stream),
        Ok(bytes) => {
            let mut share = memory.share(address);
            match share.grow(bytes.len()) {
                Ok(()) => head.set_body(BoxBody::new(CountedBody { bytes, _share: share })),
                Err(exceeded) => {
                    let extensions = request.extensions();
                    let id = extensions.get::<RequestId>().map_or("", RequestId::as_str);
                    ApiError::from(exceeded).to_response(id)
                }
            }
        }
    };
    ServiceResponse::new(request, response)
}

struct CountedBody {
    bytes: Bytes,
    _share: Share<IpAddr>,
}

impl MessageBody for CountedBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let length = self.bytes.len().min(PIECE_BYTES);
        Poll::Ready((length > 0).then(|| Ok(self.bytes.split_to(length))))
    }
}
