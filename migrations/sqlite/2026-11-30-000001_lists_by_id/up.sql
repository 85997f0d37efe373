-- As on PostgreSQL.

DROP TRIGGER users_rename;
ALTER TABLE posts DROP COLUMN author_name;
ALTER TABLE comments DROP COLUMN author_name;
ALTER TABLE notifications DROP COLUMN actor_name;

ALTER TABLE users ADD COLUMN card_changed_at text;
CREATE INDEX users_card_changed_at ON users (card_changed_at) WHERE card_changed_at IS NOT NULL;
CREATE TRIGGER users_card_change AFTER UPDATE OF username ON users WHEN OLD.username <> NEW.username
BEGIN
    UPDATE users SET card_changed_at = strftime('%Y-%m-%d %H:%M:%f+00:00', 'now') WHERE id = NEW.id;
END;

CREATE TABLE new_follows (
    id          integer PRIMARY KEY AUTOINCREMENT,
    follower_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    followee_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at  text NOT NULL,
    UNIQUE (follower_id, followee_id),
    CHECK (follower_id <> followee_id)
);
INSERT INTO new_follows (follower_id, followee_id, created_at)
    SELECT follower_id, followee_id, created_at FROM follows ORDER BY created_at, follower_id, followee_id;
DROP TABLE follows;
ALTER TABLE new_follows RENAME TO follows;
-- An index is ordered by all of its columns; the last one is only read.
CREATE INDEX follows_followers ON follows (followee_id, id, follower_id);
CREATE INDEX follows_following ON follows (follower_id, id, followee_id);

DROP INDEX posts_public;
DROP INDEX posts_public_of_user;
DROP INDEX posts_private_of_user;
DROP INDEX comments_of_post;
CREATE INDEX posts_public ON posts (id) WHERE NOT is_private;
CREATE INDEX posts_public_of_user ON posts (user_id, id) WHERE NOT is_private;
CREATE INDEX posts_private_of_user ON posts (user_id, id) WHERE is_private;
CREATE INDEX comments_of_post ON comments (post_id, id);

DROP TRIGGER posts_come;
DROP TRIGGER posts_go;
DROP TRIGGER posts_hide_or_show;
DROP TABLE post_blocks;
DROP TABLE post_block_changes;
DROP TABLE public_post_counters;

CREATE TABLE feed_buckets (
    owner_id integer NOT NULL,
    bucket   integer NOT NULL,
    posts    integer NOT NULL,
    PRIMARY KEY (owner_id, bucket)
) WITHOUT ROWID;
CREATE INDEX feed_buckets_empty ON feed_buckets (owner_id, bucket) WHERE posts = 0;
CREATE TABLE feed_total (
    only_row integer PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    posts    integer NOT NULL
);
-- There is one writer at a time, so the triggers change the counts themselves. The queries are those of PostgreSQL.
CREATE VIEW feed_changes AS SELECT 0 AS owner_id, 0 AS bucket, 0 AS change WHERE false;

CREATE TRIGGER posts_insert AFTER INSERT ON posts
BEGIN
    INSERT INTO feed_buckets VALUES (CASE WHEN NEW.is_private THEN NEW.user_id ELSE 0 END, NEW.id >> 11, 1)
    ON CONFLICT DO UPDATE SET posts = posts + 1;
    UPDATE feed_total SET posts = posts + 1 WHERE NOT NEW.is_private;
END;
CREATE TRIGGER posts_delete AFTER DELETE ON posts
BEGIN
    UPDATE feed_buckets SET posts = posts - 1
    WHERE owner_id = CASE WHEN OLD.is_private THEN OLD.user_id ELSE 0 END AND bucket = OLD.id >> 11;
    UPDATE feed_total SET posts = posts - 1 WHERE NOT OLD.is_private;
END;
CREATE TRIGGER posts_change_privacy AFTER UPDATE OF is_private ON posts WHEN OLD.is_private <> NEW.is_private
BEGIN
    UPDATE feed_buckets SET posts = posts - 1
    WHERE owner_id = CASE WHEN OLD.is_private THEN OLD.user_id ELSE 0 END AND bucket = OLD.id >> 11;
    INSERT INTO feed_buckets VALUES (CASE WHEN NEW.is_private THEN NEW.user_id ELSE 0 END, NEW.id >> 11, 1)
    ON CONFLICT DO UPDATE SET posts = posts + 1;
    UPDATE feed_total SET posts = posts + CASE WHEN NEW.is_private THEN -1 ELSE 1 END;
END;

INSERT INTO feed_buckets
    SELECT CASE WHEN is_private THEN user_id ELSE 0 END, id >> 11, count(*) FROM posts GROUP BY 1, 2 ORDER BY 1, 2;
INSERT INTO feed_total (posts) SELECT coalesce(sum(posts), 0) FROM feed_buckets WHERE owner_id = 0;
