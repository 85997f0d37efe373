//! Lists in pages: their parameters, metadata, links and cursors.

mod cursors;

use actix_web::{HttpRequest, HttpResponse, http::header};
use domain::{
    Error,
    page::{Page, PageNumber, PageRequest, PageSize, PageStart, total_pages},
};
use serde::Serialize;
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

pub use cursors::{Cursors, List};

use crate::{error::Result, request::request_fields};

request_fields! {
    /// Selects a page of a list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    pub(crate) struct PageParams {
        /// Number of the page, from 1.
        #[param(value_type = Option<i64>, minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 1)]
        page: Option<PageNumber>,
        /// Maximum number of items on a page. Default: 10, for followers and following 100.
        #[param(value_type = Option<i64>, minimum = 1, maximum = 100, example = 10)]
        page_size: Option<PageSize>,
        /// Alias of `page_size`.
        #[param(value_type = Option<i64>, minimum = 1, maximum = 100)]
        limit: Option<PageSize>,
        /// The `next_cursor` of the previous page. If present, `page` is ignored.
        cursor: Option<String>,
    }
}

impl PageParams {
    /// Returns the page of `list` that the parameters select.
    ///
    /// # Errors
    /// `INVALID_CURSOR` if the cursor was altered or belongs to another list.
    pub(crate) fn paging(&self, cursors: &Cursors, list: List, default_size: PageSize) -> Result<Paging> {
        let number = self.page.unwrap_or(PageNumber::FIRST);
        let start = match &self.cursor {
            Some(cursor) => PageStart::After(cursors.decode(&list, cursor)?),
            None => PageStart::Page(number),
        };
        let size = self.page_size.or(self.limit).unwrap_or(default_size);
        Ok(Paging { list, number, request: PageRequest { start, size }, has_depth_limit: true })
    }
}

/// A page of a certain list.
pub(crate) struct Paging {
    pub list: List,
    /// The page number, which is ignored if a cursor was sent.
    pub number: PageNumber,
    pub request: PageRequest,
    /// Whether the list refuses numbered pages that are far back, because it finds them by counting.
    pub has_depth_limit: bool,
}

/// Metadata of a page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PageInfo {
    /// Number of items in the whole list.
    #[schema(example = 1)]
    pub total: i64,
    /// Number of this page, from 1.
    #[schema(example = 1)]
    pub page: i64,
    /// Maximum number of items on a page.
    #[schema(example = 10)]
    pub page_size: i64,
    /// Number of pages; 0 if the list is empty.
    #[schema(example = 1)]
    pub total_pages: i64,
    /// Send it as `cursor` to get the next page; null on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

impl Paging {
    /// Returns the response: `body` makes its body of the items and the metadata of the page.
    pub(crate) fn respond<T, B: Serialize>(
        &self,
        cursors: &Cursors,
        request: &HttpRequest,
        page: Page<T>,
        body: impl FnOnce(Vec<T>, PageInfo) -> B,
    ) -> Result<HttpResponse> {
        if self.has_depth_limit && self.request.is_too_deep(page.total) {
            return Err(Error::PAGE_TOO_DEEP.into());
        }
        let info = PageInfo {
            total: page.total,
            page: self.number.get(),
            page_size: self.request.size.get(),
            total_pages: total_pages(page.total, self.request.size),
            next_cursor: page.next.map(|id| cursors.encode(&self.list, id)),
        };
        let links = self.links(request, &info);
        let mut response = HttpResponse::Ok();
        if !links.is_empty() {
            response.insert_header((header::LINK, links));
        }
        Ok(response.json(body(page.items, info)))
    }

    /// Returns the `Link` header (RFC 8288). After a cursor only the first and the next page are known.
    fn links(&self, request: &HttpRequest, info: &PageInfo) -> String {
        let filters = form_urlencoded::parse(request.query_string().as_bytes())
            .filter(|(name, _)| !matches!(&**name, "page" | "cursor"));
        let mut query = form_urlencoded::Serializer::new(String::new()).extend_pairs(filters).finish();
        if !query.is_empty() {
            query.push('&');
        }
        // Neither numbers nor cursors contain characters that must be escaped.
        let link = |relation: &str, key: &str, value: &str| {
            ["<", request.path(), "?", &query, key, "=", value, ">; rel=\"", relation, "\""].concat()
        };
        let numbered = |relation, number: i64| link(relation, "page", itoa::Buffer::new().format(number));
        let mut links = Vec::new();
        if self.request.after().is_some() {
            links.extend(info.next_cursor.as_deref().map(|cursor| link("next", "cursor", cursor)));
            links.push(numbered("first", PageNumber::FIRST.get()));
        } else if info.total_pages > 0 {
            links.extend((info.page < info.total_pages).then(|| numbered("next", info.page + 1)));
            links.extend((info.page > 1).then(|| numbered("prev", (info.page - 1).min(info.total_pages))));
            links.push(numbered("first", 1));
            links.push(numbered("last", info.total_pages));
        }
        links.join(", ")
    }
}
