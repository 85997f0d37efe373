//! Pagination.

use crate::{Result, Violation};

/// The part of a list that a client requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Where the page starts.
    pub start: PageStart,
    /// The maximum number of its items.
    pub size: PageSize,
}

/// Where a page starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageStart {
    /// At the page of this number.
    Page(PageNumber),
    /// After the item of this id, which an index finds: equally fast anywhere in the list. Lists run downwards by id.
    After(i64),
}

/// The number of a page, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageNumber(i64);

impl PageNumber {
    /// The first page.
    pub const FIRST: Self = Self(1);

    /// Parses client input.
    pub fn parse(number: i64) -> Result<Self, Violation> {
        if number < 1 {
            return Err(Violation::value("page", "Input should be greater than or equal to 1"));
        }
        Ok(Self(number))
    }

    /// Returns the number.
    pub fn get(self) -> i64 {
        self.0
    }
}

/// The maximum number of items of a page: 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(i64);

impl PageSize {
    /// The smallest page.
    pub const ONE: Self = Self(1);
    /// The largest page.
    pub const MAX: Self = Self(100);
    /// The page size if the client requests none.
    pub const DEFAULT: Self = Self(10);

    /// Parses client input.
    pub fn parse(size: i64) -> Result<Self, Violation> {
        match size {
            1..=100 => Ok(Self(size)),
            ..1 => Err(Violation::value("page_size", "Input should be greater than or equal to 1")),
            _ => Err(Violation::value("page_size", "Input should be less than or equal to 100")),
        }
    }

    /// Returns the number of items.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl PageRequest {
    /// The largest offset that page numbers reach in lists without an index of pages. Cursors reach beyond: the cost
    /// of an offset grows with it, that of a position does not.
    pub const MAX_OFFSET: i64 = 10_000;

    /// Returns whether only a cursor reaches the page, in a list of `total` items without an index of pages.
    pub fn is_too_deep(&self, total: i64) -> bool {
        (Self::MAX_OFFSET + 1..total).contains(&self.offset())
    }

    /// Returns the number of rows that a query skips; 0 if the page is too deep.
    pub fn row_offset(&self) -> i64 {
        if self.offset() > Self::MAX_OFFSET { 0 } else { self.offset() }
    }

    /// Returns the number of rows that a query reads: one more than the page size, to learn whether more follow; 0 if the
    /// page is too deep.
    pub fn row_limit(&self) -> i64 {
        if self.offset() > Self::MAX_OFFSET { 0 } else { self.size.0 + 1 }
    }

    /// Returns the number of items before the page; 0 if a cursor determines its start.
    pub fn offset(&self) -> i64 {
        match self.start {
            // An offset that overflows lies behind the end of every list.
            PageStart::Page(number) => (number.0 - 1).checked_mul(self.size.0).unwrap_or(i64::MAX),
            PageStart::After(_) => 0,
        }
    }

    /// Returns the id of the cursor, if there is one.
    pub fn after(&self) -> Option<i64> {
        match self.start {
            PageStart::Page(_) => None,
            PageStart::After(id) => Some(id),
        }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, newest first, which means by descending id.
    pub items: Vec<T>,
    /// Number of items of the whole list.
    pub total: i64,
    /// The id after which the next page starts; `None` at the end of the list.
    pub next: Option<i64>,
}

impl<T> Page<T> {
    /// Creates a page from [`PageRequest::row_limit`] or more rows, fewer at the end of the list. Rows beyond the page size
    /// only show that more follow.
    pub fn from_rows(mut items: Vec<T>, total: i64, size: PageSize, id: impl FnOnce(&T) -> i64) -> Self {
        let size = usize::try_from(size.0).unwrap_or(usize::MAX);
        let has_more = items.len() > size;
        items.truncate(size);
        let next = if has_more { items.last().map(id) } else { None };
        Self { items, total, next }
    }
}

/// Returns the number of pages of a list; 0 if it is empty.
pub fn total_pages(total: i64, size: PageSize) -> i64 {
    total.max(0).div_euclid(size.0) + i64::from(total.max(0).rem_euclid(size.0) > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn page_sizes_from_1_to_100_are_accepted() {
        assert_eq!(PageSize::parse(1).map(PageSize::get), Ok(1));
        assert_eq!(PageSize::parse(100).map(PageSize::get), Ok(100));
        assert!(PageSize::parse(0).is_err());
        assert!(PageSize::parse(101).is_err());
        assert!(PageNumber::parse(0).is_err());
    }

    #[test]
    fn deep_pages_are_reached_by_cursors_only() {
        let size = PageSize::parse(100).unwrap();
        let page = |number| PageRequest { start: PageStart::Page(PageNumber::parse(number).unwrap()), size };
        assert!(!page(101).is_too_deep(1_000_000));
        assert_eq!((page(101).row_offset(), page(101).row_limit()), (10_000, 101));
        assert!(page(102).is_too_deep(1_000_000));
        assert_eq!((page(102).row_offset(), page(102).row_limit()), (0, 0));
        // A page behind the end of the list is empty.
        assert!(!page(20_000).is_too_deep(1_000_000));
    }

    #[test]
    fn the_extra_row_only_shows_that_more_follow() {
        let size = PageSize::parse(2).unwrap();
        let page = Page::from_rows(vec![9, 8, 7], 5, size, |id| *id);
        assert_eq!((page.items, page.next), (vec![9, 8], Some(8)));
        let last = Page::from_rows(vec![9, 8], 2, size, |id| *id);
        assert_eq!((last.items, last.next), (vec![9, 8], None));
    }

    proptest! {
        #[test]
        fn every_item_is_on_exactly_one_page(total in 0i64..1_000_000, size in 1i64..=100) {
            let size = PageSize::parse(size).unwrap();
            let pages = total_pages(total, size);
            prop_assert!(pages * size.get() >= total);
            prop_assert!((pages - 1) * size.get() < total || total == 0);
        }

        #[test]
        fn numbered_pages_list_every_item_once_in_order(total in 0i64..2_000, size in 1i64..=100) {
            let size = PageSize::parse(size).unwrap();
            let mut seen = Vec::new();
            for number in 1..=total_pages(total, size) {
                let request = PageRequest { start: PageStart::Page(PageNumber::parse(number).unwrap()), size };
                let rows = (request.row_offset()..total).take(usize::try_from(request.row_limit()).unwrap()).collect();
                let page = Page::from_rows(rows, total, size, |row| *row);
                prop_assert_eq!(page.next.is_none(), number == total_pages(total, size));
                seen.extend(page.items);
            }
            prop_assert_eq!(seen, (0..total).collect::<Vec<_>>());
        }

        #[test]
        fn cursors_list_every_item_once(ids in prop::collection::btree_set(1i64..2_000, 0..300), size in 1i64..=100) {
            let size = PageSize::parse(size).unwrap();
            let list: Vec<_> = ids.into_iter().rev().collect();
            let (mut seen, mut start) = (Vec::new(), PageStart::Page(PageNumber::FIRST));
            loop {
                let request = PageRequest { start, size };
                let limit = usize::try_from(request.row_limit()).unwrap();
                let is_after = |id: &i64| request.after().is_none_or(|after| *id < after);
                let rows = list.iter().copied().filter(is_after).take(limit).collect();
                let page = Page::from_rows(rows, 0, size, |id| *id);
                seen.extend(page.items);
                match page.next {
                    Some(id) => start = PageStart::After(id),
                    None => break,
                }
            }
            prop_assert_eq!(seen, list);
        }

        #[test]
        fn a_page_is_too_deep_only_if_it_has_items(number in 1i64..=i64::MAX, size in 1i64..=100, total in 0i64..=i64::MAX) {
            let start = PageStart::Page(PageNumber::parse(number).unwrap());
            let request = PageRequest { start, size: PageSize::parse(size).unwrap() };
            let is_deep = request.offset() > PageRequest::MAX_OFFSET;
            prop_assert_eq!(request.is_too_deep(total), is_deep && request.offset() < total);
            prop_assert!(request.row_offset() <= PageRequest::MAX_OFFSET && request.row_limit() <= 101);
        }

        #[test]
        fn no_page_number_overflows(number in 1i64..=i64::MAX, size in 1i64..=100) {
            let start = PageStart::Page(PageNumber::parse(number).unwrap());
            let request = PageRequest { start, size: PageSize::parse(size).unwrap() };
            prop_assert!(request.offset() >= 0);
        }
    }
}
