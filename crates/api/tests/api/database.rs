//! Whether the tables agree with each other.

use test_support::TestDatabase;

/// Queries that find nothing while every counter says how many rows there are, and every deed has been told once.
const DISAGREEMENTS: [(&str, &str); 6] = [
    (
        "likes and comments of posts",
        "SELECT count(*) FROM posts p
         WHERE likes_count <> (SELECT count(*) FROM likes l WHERE l.post_id = p.id)
            OR comments_count <> (SELECT count(*) FROM comments c WHERE c.post_id = p.id)",
    ),
    (
        "what users have",
        "SELECT count(*) FROM user_counters u
         WHERE posts <> (SELECT count(*) FROM posts p WHERE p.user_id = u.user_id)
            OR private_posts <> (SELECT count(*) FROM posts p WHERE p.user_id = u.user_id AND p.is_private)
            OR followers <> (SELECT count(*) FROM follows f WHERE f.followee_id = u.user_id)
            OR following <> (SELECT count(*) FROM follows f WHERE f.follower_id = u.user_id)
            OR notifications <> (SELECT count(*) FROM notifications n WHERE n.recipient_id = u.user_id)
            OR unread <> (SELECT count(*) FROM notifications n WHERE n.recipient_id = u.user_id AND NOT is_read)",
    ),
    (
        "public posts",
        "SELECT abs((SELECT sum(posts) FROM public_post_counters) - (SELECT count(*) FROM posts WHERE NOT is_private))",
    ),
    (
        "notifications of likes",
        "SELECT abs((SELECT count(*) FROM notifications WHERE kind = 'like')
            - (SELECT count(*) FROM likes l JOIN posts p ON p.id = l.post_id WHERE p.user_id <> l.user_id))",
    ),
    (
        "notifications of comments",
        "SELECT abs((SELECT count(*) FROM notifications WHERE kind = 'comment')
            - (SELECT count(*) FROM comments c JOIN posts p ON p.id = c.post_id WHERE p.user_id <> c.user_id))",
    ),
    (
        "notifications of follows",
        "SELECT abs((SELECT count(*) FROM notifications WHERE kind = 'follow') - (SELECT count(*) FROM follows))",
    ),
];

/// Whether counters and rows agree, of a network in which nobody has deleted a notification.
pub(crate) async fn agrees(db: &TestDatabase) {
    for (what, query) in DISAGREEMENTS {
        assert_eq!(db.number(query).await, 0, "{what}");
    }
}
