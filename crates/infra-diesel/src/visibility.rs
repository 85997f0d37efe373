//! The only place that knows who may see a post.

use diesel::{BoolExpressionMethods as _, ExpressionMethods as _, dsl};
use domain::users::UserId;

use crate::schema::posts;

/// The viewer of an anonymous client: no user has this id.
pub(crate) const ANONYMOUS: UserId = UserId(-1);

/// Restricts a query to the posts that a viewer may see: public ones and their own.
pub(crate) fn visible_to(
    viewer: UserId,
) -> dsl::Or<dsl::not<posts::is_private>, dsl::Eq<posts::user_id, i64>> {
    dsl::not(posts::is_private).or(posts::user_id.eq(viewer.0))
}

/// [`visible_to`] for raw statements: whether a viewer may see the post `p`. The viewer is a bind, unless it is a column.
macro_rules! visible {
    () => {
        visible!("?")
    };
    ($viewer:literal) => {
        concat!("(NOT p.is_private OR p.user_id = ", $viewer, ")")
    };
}
pub(crate) use visible;
