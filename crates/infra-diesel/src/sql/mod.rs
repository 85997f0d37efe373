//! Raw SQL, for what the query builder cannot say: data-modifying `WITH`, batches, the merged feed.

pub(crate) mod bind;
pub(crate) mod prepared;
pub(crate) mod row;
pub(crate) mod row_lock;
pub(crate) mod statement;
