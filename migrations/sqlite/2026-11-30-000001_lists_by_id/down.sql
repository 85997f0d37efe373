DROP TRIGGER posts_change_privacy;
DROP TRIGGER posts_delete;
DROP TRIGGER posts_insert;
DROP VIEW feed_changes;
DROP TABLE feed_total;
DROP TABLE feed_buckets;
CREATE TABLE public_post_counters (
    shard integer PRIMARY KEY,
    posts integer NOT NULL DEFAULT 0
);
INSERT INTO public_post_counters (shard)
    VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15);
UPDATE public_post_counters SET posts = (SELECT count(*) FROM posts WHERE NOT is_private) WHERE shard = 0;

-- The server fills the buckets.
CREATE TABLE post_blocks (
    created_at text NOT NULL,
    id         integer NOT NULL,
    posts      integer NOT NULL,
    PRIMARY KEY (created_at, id)
) WITHOUT ROWID;

CREATE TABLE post_block_changes (
    created_at text NOT NULL,
    id         integer NOT NULL,
    change     integer NOT NULL
);
CREATE INDEX post_block_changes_place ON post_block_changes (created_at, id);

CREATE TRIGGER posts_come AFTER INSERT ON posts
WHEN NOT NEW.is_private
    AND EXISTS (SELECT 1 FROM post_blocks WHERE (created_at, id) >= (NEW.created_at, NEW.id))
BEGIN
    INSERT INTO post_block_changes VALUES (NEW.created_at, NEW.id, 1);
END;
CREATE TRIGGER posts_go AFTER DELETE ON posts
WHEN NOT OLD.is_private
    AND EXISTS (SELECT 1 FROM post_blocks WHERE (created_at, id) >= (OLD.created_at, OLD.id))
BEGIN
    INSERT INTO post_block_changes VALUES (OLD.created_at, OLD.id, -1);
END;
CREATE TRIGGER posts_hide_or_show AFTER UPDATE OF is_private ON posts
WHEN OLD.is_private <> NEW.is_private
    AND EXISTS (SELECT 1 FROM post_blocks WHERE (created_at, id) >= (NEW.created_at, NEW.id))
BEGIN
    INSERT INTO post_block_changes
    VALUES (NEW.created_at, NEW.id, CASE WHEN NEW.is_private THEN -1 ELSE 1 END);
END;

DROP TRIGGER users_card_change;
DROP INDEX users_card_changed_at;
ALTER TABLE users DROP COLUMN card_changed_at;
ALTER TABLE posts ADD COLUMN author_name text NOT NULL DEFAULT '';
UPDATE posts SET author_name = (SELECT username FROM users WHERE id = user_id);
ALTER TABLE comments ADD COLUMN author_name text NOT NULL DEFAULT '';
UPDATE comments SET author_name = (SELECT username FROM users WHERE id = user_id);
ALTER TABLE notifications ADD COLUMN actor_name text NOT NULL DEFAULT '';
UPDATE notifications SET actor_name = (SELECT username FROM users WHERE id = actor_id);

CREATE TABLE old_follows (
    follower_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    followee_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at  text NOT NULL,
    follower_name text NOT NULL DEFAULT '',
    followee_name text NOT NULL DEFAULT '',
    PRIMARY KEY (follower_id, followee_id),
    CHECK (follower_id <> followee_id)
);
INSERT INTO old_follows
    SELECT follower_id, followee_id, f.created_at, a.username, b.username
    FROM follows f JOIN users a ON a.id = follower_id JOIN users b ON b.id = followee_id;
DROP TABLE follows;
ALTER TABLE old_follows RENAME TO follows;
CREATE INDEX follows_followers ON follows (followee_id, created_at DESC, follower_id DESC, follower_name);
CREATE INDEX follows_following ON follows (follower_id, created_at DESC, followee_id DESC, followee_name);
CREATE TRIGGER users_rename AFTER UPDATE OF username ON users WHEN OLD.username <> NEW.username
BEGIN
    UPDATE posts SET author_name = NEW.username WHERE user_id = NEW.id;
    UPDATE comments SET author_name = NEW.username WHERE user_id = NEW.id;
    UPDATE notifications SET actor_name = NEW.username WHERE actor_id = NEW.id;
    UPDATE follows SET follower_name = NEW.username WHERE follower_id = NEW.id;
    UPDATE follows SET followee_name = NEW.username WHERE followee_id = NEW.id;
END;

DROP INDEX posts_public;
DROP INDEX posts_public_of_user;
DROP INDEX posts_private_of_user;
DROP INDEX comments_of_post;
CREATE INDEX posts_public ON posts (created_at DESC, id DESC) WHERE NOT is_private;
CREATE INDEX posts_public_of_user ON posts (user_id, created_at DESC, id DESC) WHERE NOT is_private;
CREATE INDEX posts_private_of_user ON posts (user_id, created_at DESC, id DESC) WHERE is_private;
CREATE INDEX comments_of_post ON comments (post_id, created_at DESC, id DESC);
