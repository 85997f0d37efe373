//! Who may see a post.

/// Whether a viewer may see the post `p`: the one rule. Every query about a post has it. The viewer is a bind, unless it
/// is a column.
macro_rules! visible {
    () => {
        visible!("?")
    };
    ($viewer:literal) => {
        concat!("(NOT p.is_private OR p.user_id = ", $viewer, ")")
    };
}
pub(crate) use visible;
