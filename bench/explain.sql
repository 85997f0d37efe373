-- Prints the query plans of all lists, as the repositories request them: psql -X -d DATABASE -f bench/explain.sql, on a
-- database filled by `api seed`. The viewer is user 7; the middle of the list of posts is determined first.
\set QUIET on
SET max_parallel_workers_per_gather = 0;
SET jit = off;
\pset format unaligned
\pset tuples_only on
SELECT max(id) / 2 AS half FROM posts \gset
\set explain 'EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF)'
\set last 9223372036854775807
\set columns 'p.id, p.user_id, p.content, p.media_key, p.media_url, p.is_private, p.likes_count, p.comments_count, p.created_at, p.updated_at, EXISTS (SELECT 1 FROM likes l WHERE l.post_id = p.id AND l.user_id = 7)'
\set total 'total AS (SELECT CAST((SELECT posts FROM feed_total) + (SELECT coalesce(sum(change), 0) FROM feed_changes WHERE owner_id = 0) + coalesce((SELECT private_posts FROM user_counters WHERE user_id = 7), 0) AS bigint) AS total)'
\set rows 'SELECT total.total, :columns FROM total LEFT JOIN page ON true LEFT JOIN posts p ON p.id = page.id ORDER BY p.id DESC;'
\set feed 'WITH :total, page AS (SELECT * FROM (SELECT * FROM posts WHERE NOT is_private AND id < :bound ORDER BY id DESC LIMIT 21) AS public UNION ALL SELECT * FROM (SELECT * FROM posts WHERE is_private AND user_id >= 7 AND (user_id, id) < (7, :bound) ORDER BY user_id DESC, id DESC LIMIT 21) AS private ORDER BY id DESC LIMIT 21 OFFSET 0) SELECT total.total, :columns FROM total LEFT JOIN page p ON true ORDER BY p.id DESC;'

\echo '-- a post'
:explain SELECT :columns FROM posts p WHERE p.id = :half - 1 AND (NOT p.is_private OR p.user_id = 7);

\echo '-- posts, page 1'
\set bound :last
:explain :feed

\echo '-- posts, by cursor, in the middle'
\set bound :half
:explain :feed

\echo '-- posts, a page by number, in the middle'
:explain WITH :total, start AS MATERIALIZED (SELECT coalesce(min(bucket) << 11, :last) AS bound, coalesce(max(newer), 0) AS newer FROM (SELECT bucket, sum(posts) OVER (ORDER BY bucket DESC) AS newer FROM (SELECT bucket, posts FROM feed_buckets WHERE owner_id IN (0, 7) UNION ALL SELECT bucket, change FROM feed_changes WHERE owner_id IN (0, 7)) AS counts) AS sums WHERE newer <= :half), page AS (SELECT id FROM (SELECT * FROM (SELECT id FROM posts WHERE NOT is_private AND id < (SELECT bound FROM start) ORDER BY id DESC LIMIT (SELECT :half + 21 - newer FROM start)) AS public UNION ALL SELECT * FROM (SELECT id FROM posts WHERE is_private AND user_id >= 7 AND (user_id, id) < (7, (SELECT bound FROM start)) ORDER BY user_id DESC, id DESC LIMIT (SELECT :half + 21 - newer FROM start)) AS private) AS visible ORDER BY id DESC LIMIT 21 OFFSET (SELECT :half - newer FROM start)) SELECT total.total, :columns FROM total LEFT JOIN page ON true LEFT JOIN posts p ON p.id = page.id ORDER BY p.id DESC;

\echo '-- posts of the most active author'
SELECT user_id AS writer FROM user_counters ORDER BY posts DESC LIMIT 1 \gset
:explain WITH total AS (SELECT coalesce((SELECT CASE WHEN user_id = 7 THEN posts ELSE posts - private_posts END FROM user_counters WHERE user_id = :writer), 0) AS total), page AS (SELECT id FROM (SELECT * FROM (SELECT id FROM posts WHERE NOT is_private AND user_id >= :writer AND (user_id, id) < (:writer, :last) ORDER BY user_id DESC, id DESC LIMIT 21) AS public UNION ALL SELECT * FROM (SELECT id FROM posts WHERE is_private AND user_id >= -1 AND (user_id, id) < (-1, :last) ORDER BY user_id DESC, id DESC LIMIT 21) AS private) AS visible ORDER BY id DESC LIMIT 21 OFFSET 0) :rows

\echo '-- comments of the most commented post'
SELECT id AS post FROM posts ORDER BY comments_count DESC LIMIT 1 \gset
:explain SELECT p.comments_count, c.* FROM posts p LEFT JOIN (SELECT * FROM comments WHERE post_id = :post AND id < :last ORDER BY id DESC LIMIT 21 OFFSET 0) AS c ON true WHERE p.id = :post AND (NOT p.is_private OR p.user_id = -1) ORDER BY c.id DESC;

\echo '-- followers of the most followed user'
SELECT user_id AS star FROM user_counters ORDER BY followers DESC LIMIT 1 \gset
:explain SELECT c.followers, f.id, f.user_id FROM users u JOIN user_counters c ON c.user_id = u.id LEFT JOIN (SELECT id, follower_id AS user_id FROM follows WHERE followee_id = :star AND id < :last ORDER BY id DESC LIMIT 51 OFFSET 0) AS f ON true WHERE u.id = :star AND u.is_active AND u.is_verified ORDER BY f.id DESC;

\echo '-- users followed by the user who follows most'
SELECT user_id AS fan FROM user_counters ORDER BY following DESC LIMIT 1 \gset
:explain SELECT c.following, f.id, f.user_id FROM users u JOIN user_counters c ON c.user_id = u.id LEFT JOIN (SELECT id, followee_id AS user_id FROM follows WHERE follower_id = :fan AND id < :last ORDER BY id DESC LIMIT 51 OFFSET 0) AS f ON true WHERE u.id = :fan AND u.is_active AND u.is_verified ORDER BY f.id DESC;

\echo '-- names of 50 users that are not in memory'
:explain SELECT id, username FROM users WHERE id = ANY (ARRAY(SELECT follower_id FROM follows WHERE followee_id = :star ORDER BY id DESC LIMIT 50));

\echo '-- notifications'
:explain SELECT c.notifications, c.unread, n.* FROM user_counters c LEFT JOIN (SELECT * FROM notifications WHERE recipient_id = 7 AND id < :last ORDER BY id DESC LIMIT 21 OFFSET 0) AS n ON true WHERE c.user_id = 7 ORDER BY n.id DESC;

\echo '-- unread notifications'
:explain SELECT c.unread, n.* FROM user_counters c LEFT JOIN (SELECT * FROM notifications WHERE recipient_id = 7 AND NOT is_read AND id < :last ORDER BY id DESC LIMIT 21 OFFSET 0) AS n ON true WHERE c.user_id = 7 ORDER BY n.id DESC;
