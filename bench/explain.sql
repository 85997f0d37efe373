-- Prints the query plans of all lists, as the repositories request them: psql -X -d DATABASE -f bench/explain.sql, on a
-- database filled by `api seed`. The viewer is user 7; the middle of the list of posts is determined first.
\set QUIET on
SET max_parallel_workers_per_gather = 0;
SET jit = off;
\pset format unaligned
\pset tuples_only on
SELECT max(id) / 2 AS half, max(id) AS posts FROM posts \gset
SELECT created_at AS at FROM posts WHERE id = :half \gset
\set explain 'EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF)'
\set newest '((SELECT created_at FROM post_blocks ORDER BY created_at DESC, id DESC LIMIT 1), (SELECT id FROM post_blocks ORDER BY created_at DESC, id DESC LIMIT 1))'
\set start '((SELECT created_at FROM start), (SELECT id FROM start))'
\set forever '''9999-12-31 23:59:59+00'''
\set columns 'p.id, p.user_id, p.author_name, p.content, p.media_key, p.media_url, p.is_private, p.likes_count, p.comments_count, p.created_at, p.updated_at, EXISTS (SELECT 1 FROM likes l WHERE l.post_id = p.id AND l.user_id = 7)'
\set feed 'WITH total AS (SELECT CAST((SELECT coalesce(sum(posts), 0) FROM public_post_counters) + coalesce((SELECT private_posts FROM user_counters WHERE user_id = 7), 0) AS bigint) AS total), page AS (SELECT id, created_at FROM (SELECT * FROM (SELECT id, created_at FROM posts WHERE NOT is_private AND (created_at, id) < (:after) ORDER BY created_at DESC, id DESC LIMIT :reach) AS public UNION ALL SELECT * FROM (SELECT id, created_at FROM posts WHERE is_private AND user_id = 7 AND (created_at, id) < (:after) ORDER BY created_at DESC, id DESC LIMIT :reach) AS private) AS visible ORDER BY created_at DESC, id DESC LIMIT 21 OFFSET :offset) SELECT total.total, :columns FROM total LEFT JOIN page ON true LEFT JOIN posts p ON p.id = page.id ORDER BY page.created_at DESC, page.id DESC;'

\echo '-- a post'
:explain SELECT :columns FROM posts p WHERE p.id = :half - 1 AND (NOT p.is_private OR p.user_id = 7);

\echo '-- posts, page 1'
\set after :forever ', 9223372036854775807'
\set reach 21
\set offset 0
:explain :feed

\echo '-- posts, by cursor, in the middle'
\set after '''' :at ''', ' :half
:explain :feed

\echo '-- posts, a page by number, in the middle'
:explain WITH total AS (SELECT CAST((SELECT coalesce(sum(posts), 0) FROM public_post_counters) + coalesce((SELECT private_posts FROM user_counters WHERE user_id = 7), 0) AS bigint) AS total), places AS (SELECT CAST(:forever AS timestamptz) AS created_at, 9223372036854775807 AS id, 1 AS is_block, (SELECT CAST(count(*) AS integer) FROM posts WHERE NOT is_private AND (created_at, id) > :newest) AS posts UNION ALL SELECT created_at, id, 1, posts FROM post_blocks UNION ALL SELECT created_at, id, 0, change FROM post_block_changes WHERE (created_at, id) <= :newest UNION ALL SELECT created_at, id, 0, 1 FROM posts WHERE is_private AND user_id = 7), counted AS (SELECT created_at, id, is_block, coalesce(sum(posts) OVER (ORDER BY created_at DESC, id DESC, is_block DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS newer FROM places), start AS MATERIALIZED (SELECT created_at, id, newer FROM counted WHERE is_block = 1 AND newer <= :half ORDER BY created_at, id LIMIT 1), page AS (SELECT id, created_at FROM (SELECT * FROM (SELECT id, created_at FROM posts WHERE NOT is_private AND (created_at, id) <= :start ORDER BY created_at DESC, id DESC LIMIT (SELECT :half + 21 - newer FROM start)) AS public UNION ALL SELECT * FROM (SELECT id, created_at FROM posts WHERE is_private AND user_id = 7 AND (created_at, id) <= :start ORDER BY created_at DESC, id DESC LIMIT (SELECT :half + 21 - newer FROM start)) AS private) AS visible ORDER BY created_at DESC, id DESC LIMIT 21 OFFSET (SELECT :half - newer FROM start)) SELECT total.total, :columns FROM total LEFT JOIN page ON true LEFT JOIN posts p ON p.id = page.id ORDER BY page.created_at DESC, page.id DESC;

\echo '-- posts of the most active author'
SELECT user_id AS writer FROM user_counters ORDER BY posts DESC LIMIT 1 \gset
:explain WITH total AS (SELECT coalesce((SELECT CASE WHEN user_id = 7 THEN posts ELSE posts - private_posts END FROM user_counters WHERE user_id = :writer), 0) AS total), page AS (SELECT id, created_at FROM (SELECT * FROM (SELECT id, created_at FROM posts WHERE NOT is_private AND user_id = :writer AND (created_at, id) < (:forever, 9223372036854775807) ORDER BY created_at DESC, id DESC LIMIT 21) AS public UNION ALL SELECT * FROM (SELECT id, created_at FROM posts WHERE is_private AND user_id = :writer AND user_id = 7 AND (created_at, id) < (:forever, 9223372036854775807) ORDER BY created_at DESC, id DESC LIMIT 21) AS private) AS visible ORDER BY created_at DESC, id DESC LIMIT 21 OFFSET 0) SELECT total.total, :columns FROM total LEFT JOIN page ON true LEFT JOIN posts p ON p.id = page.id ORDER BY page.created_at DESC, page.id DESC;

\echo '-- comments of the most commented post'
SELECT id AS post FROM posts ORDER BY comments_count DESC LIMIT 1 \gset
:explain SELECT p.comments_count, c.* FROM posts p LEFT JOIN (SELECT * FROM comments WHERE post_id = :post AND (created_at, id) < (:forever, 9223372036854775807) ORDER BY created_at DESC, id DESC LIMIT 21 OFFSET 0) AS c ON true WHERE p.id = :post AND (NOT p.is_private OR p.user_id = -1) ORDER BY c.created_at DESC, c.id DESC;

\echo '-- followers of the most followed user'
SELECT user_id AS star FROM user_counters ORDER BY followers DESC LIMIT 1 \gset
:explain SELECT c.followers, f.id, f.username, f.created_at FROM users u JOIN user_counters c ON c.user_id = u.id LEFT JOIN (SELECT follower_id AS id, follower_name AS username, created_at FROM follows WHERE followee_id = :star AND (created_at, follower_id) < (:forever, 9223372036854775807) ORDER BY created_at DESC, follower_id DESC LIMIT 51 OFFSET 0) AS f ON true WHERE u.id = :star AND u.is_active AND u.is_verified ORDER BY f.created_at DESC, f.id DESC;

\echo '-- users followed by the user who follows most'
SELECT user_id AS fan FROM user_counters ORDER BY following DESC LIMIT 1 \gset
:explain SELECT c.following, f.id, f.username, f.created_at FROM users u JOIN user_counters c ON c.user_id = u.id LEFT JOIN (SELECT followee_id AS id, followee_name AS username, created_at FROM follows WHERE follower_id = :fan AND (created_at, followee_id) < (:forever, 9223372036854775807) ORDER BY created_at DESC, followee_id DESC LIMIT 51 OFFSET 0) AS f ON true WHERE u.id = :fan AND u.is_active AND u.is_verified ORDER BY f.created_at DESC, f.id DESC;

\echo '-- notifications'
:explain SELECT c.notifications, c.unread, n.* FROM user_counters c LEFT JOIN (SELECT * FROM notifications WHERE recipient_id = 7 AND id < 9223372036854775807 ORDER BY id DESC LIMIT 21 OFFSET 0) AS n ON true WHERE c.user_id = 7 ORDER BY n.id DESC;

\echo '-- unread notifications'
:explain SELECT c.unread, n.* FROM user_counters c LEFT JOIN (SELECT * FROM notifications WHERE recipient_id = 7 AND NOT is_read AND id < 9223372036854775807 ORDER BY id DESC LIMIT 21 OFFSET 0) AS n ON true WHERE c.user_id = 7 ORDER BY n.id DESC;
