//! Answers that are pages of lists: their cursors and their links.

use actix_web::{HttpResponse, http::header};
use application::keyed_hash::KeyedHash;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use domain::{
    Error,
    page::{Page, PageNumber, PageRequest, Position, total_pages},
};
use serde::Serialize;
use subtle::ConstantTimeEq as _;
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use crate::error::Result;

/// Which list, with all that decides what is in it: a cursor of one is foreign to every other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List(pub String);

/// Makes and reads cursors: positions that only we can make.
pub struct Cursors(KeyedHash);

const TAG: usize = 12;

impl Cursors {
    /// Cursors of this key.
    pub fn new(secrets: KeyedHash) -> Self {
        Self(secrets)
    }

    fn tag(&self, list: &List, position: &[u8]) -> [u8; 32] {
        self.0.hash("cursor", &[list.0.as_bytes(), position])
    }

    /// The cursor of a position.
    pub fn write(&self, list: &List, position: Position) -> String {
        let mut bytes = Vec::with_capacity(16 + TAG);
        bytes.extend(position.at.timestamp_micros().to_be_bytes());
        bytes.extend(position.id.to_be_bytes());
        let tag = self.tag(list, &bytes);
        bytes.extend(&tag[..TAG]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position of a cursor that was made for this list.
    pub fn read(&self, list: &List, cursor: &str) -> domain::Result<Position> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Error::INVALID_CURSOR)?;
        let (position, tag) = bytes.split_at_checked(16).ok_or(Error::INVALID_CURSOR)?;
        if !bool::from(tag.ct_eq(&self.tag(list, position)[..TAG])) {
            return Err(Error::INVALID_CURSOR);
        }
        let number = |part: &[u8]| part.try_into().map(i64::from_be_bytes).map_err(|_| Error::INVALID_CURSOR);
        let at = DateTime::from_timestamp_micros(number(&position[..8])?).ok_or(Error::INVALID_CURSOR)?;
        Ok(Position { at, id: number(&position[8..])? })
    }
}

/// Which page of which list.
pub(crate) struct Paging {
    /// The list.
    pub list: List,
    /// The number, which is of no account if a cursor was given.
    pub number: PageNumber,
    /// The page.
    pub request: PageRequest,
    /// Whether the list is walked to a numbered page, and so has some that are too deep.
    pub is_walked: bool,
}

/// Which part of a list is wanted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // read by `Call`, which names every mistake; this documents them
pub(crate) struct PageQuery {
    /// The number of the page.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 1)]
    page: Option<i64>,
    /// How many items it has at most; 10 if it is not said, 100 for followers and following.
    #[param(minimum = 1, maximum = 100, example = 10)]
    page_size: Option<i64>,
    /// Another name for `page_size`.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before; then `page` is of no account.
    cursor: Option<String>,
}

/// What every page of a list says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PageInfo {
    /// How many items the whole list has.
    #[schema(example = 1)]
    pub total: i64,
    /// The number of this page, from 1.
    #[schema(example = 1)]
    pub page: i64,
    /// How many items a page has at most.
    #[schema(example = 10)]
    pub page_size: i64,
    /// How many pages there are; 0 when the list is empty.
    #[schema(example = 1)]
    pub total_pages: i64,
    /// Continues right behind this page when given as `cursor`; null at the end.
    pub next_cursor: Option<String>,
}

/// The list's own URL, for links to its other pages.
pub(crate) struct LinkTarget<'a> {
    pub path: &'a str,
    /// The query without the parameters that select a page.
    pub filters: Vec<(&'a str, &'a str)>,
}

/// Answers a page: `body` makes it of the items and what the page says of itself.
pub(crate) fn respond<T, B: Serialize>(
    cursors: &Cursors,
    target: &LinkTarget<'_>,
    paging: &Paging,
    page: Page<T>,
    body: impl FnOnce(Vec<T>, PageInfo) -> B,
) -> Result<HttpResponse> {
    if paging.is_walked && paging.request.is_too_deep(page.total) {
        return Err(Error::PAGE_TOO_DEEP.into());
    }
    let info = PageInfo {
        total: page.total,
        page: paging.number.get(),
        page_size: paging.request.size.get(),
        total_pages: total_pages(page.total, paging.request.size),
        next_cursor: page.next.map(|position| cursors.write(&paging.list, position)),
    };
    let links = links(target, paging, &info);
    let mut response = HttpResponse::Ok();
    if !links.is_empty() {
        response.insert_header((header::LINK, links));
    }
    Ok(response.json(body(page.items, info)))
}

/// The `Link` header (RFC 8288). Behind a cursor there are no numbers: only the first and the next page are known.
fn links(target: &LinkTarget<'_>, paging: &Paging, info: &PageInfo) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let mut query = query.extend_pairs(target.filters.iter().copied()).finish();
    if !query.is_empty() {
        query.push('&');
    }
    // Neither a number nor a cursor has anything that would have to be escaped.
    let link = |relation: &str, key: &str, value: &str| {
        ["<", target.path, "?", &query, key, "=", value, ">; rel=\"", relation, "\""].concat()
    };
    let numbered = |relation, number: i64| link(relation, "page", itoa::Buffer::new().format(number));
    let mut links = Vec::new();
    if paging.request.after().is_some() {
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

#[cfg(test)]
mod tests {
    use chrono::{TimeZone as _, Utc};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_brings_back_any_position(micros in 0i64..4_000_000_000_000_000, id in 1i64..) {
            let cursors = Cursors::new(KeyedHash::new(b"a key for tests"));
            let list = List("posts".into());
            let position = Position { at: Utc.timestamp_micros(micros).unwrap(), id };
            prop_assert_eq!(cursors.read(&list, &cursors.write(&list, position)), Ok(position));
        }

        #[test]
        fn nothing_else_is_a_cursor(text in "[A-Za-z0-9_-]{0,60}|\\PC{0,20}") {
            let cursors = Cursors::new(KeyedHash::new(b"a key for tests"));
            prop_assert_eq!(cursors.read(&List("posts".into()), &text), Err(Error::INVALID_CURSOR));
        }
    }

    #[test]
    fn a_cursor_is_good_for_its_list_and_nothing_else() {
        let cursors = Cursors::new(KeyedHash::new(b"a key for tests"));
        let at = Utc.timestamp_micros(1_700_000_000_123_456).unwrap();
        let position = Position { at, id: 42 };
        let (posts, others) = (List("posts".into()), List("posts of 7".into()));
        let cursor = cursors.write(&posts, position);
        assert_eq!(cursors.read(&posts, &cursor), Ok(position));
        assert_eq!(cursors.read(&others, &cursor), Err(Error::INVALID_CURSOR));
        let other_key = Cursors::new(KeyedHash::new(b"another key"));
        assert_eq!(other_key.read(&posts, &cursor), Err(Error::INVALID_CURSOR));
        let mut altered = cursor.clone().into_bytes();
        altered[3] = if altered[3] == b'A' { b'B' } else { b'A' };
        for broken in
            [String::from_utf8(altered).unwrap(), cursor + "A", String::new(), "x".repeat(500), "🦀".into()]
        {
            assert_eq!(cursors.read(&posts, &broken), Err(Error::INVALID_CURSOR), "{broken}");
        }
    }
}
