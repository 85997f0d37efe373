DROP TRIGGER posts_truncate ON posts;
DROP TRIGGER posts_change_privacy ON posts;
DROP TRIGGER posts_delete ON posts;
DROP TRIGGER posts_insert ON posts;
DROP FUNCTION note_feed_changes;
DROP TABLE feed_changes, feed_total, feed_buckets;
CREATE TABLE public_post_counters (
    shard smallint PRIMARY KEY,
    posts bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO public_post_counters (shard) SELECT generate_series(0, 63);
UPDATE public_post_counters SET posts = (SELECT count(*) FROM posts WHERE NOT is_private) WHERE shard = 0;

-- The server fills the buckets.
CREATE TABLE post_blocks (
    created_at timestamptz NOT NULL,
    id         bigint NOT NULL,
    posts      integer NOT NULL,
    PRIMARY KEY (created_at, id)
) WITH (fillfactor = 90);

CREATE TABLE post_block_changes (
    created_at timestamptz NOT NULL,
    id         bigint NOT NULL,
    change     integer NOT NULL
);
CREATE INDEX post_block_changes_place ON post_block_changes (created_at, id);

CREATE FUNCTION note_post_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM post_blocks;
        DELETE FROM post_block_changes;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO post_block_changes VALUES (OLD.created_at, OLD.id, -1);
    ELSE
        INSERT INTO post_block_changes
        VALUES (NEW.created_at, NEW.id, CASE WHEN NEW.is_private THEN -1 ELSE 1 END);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER posts_come AFTER INSERT ON posts FOR EACH ROW
    WHEN (NOT NEW.is_private AND NEW.created_at < clock_timestamp() - interval '1 minute')
    EXECUTE FUNCTION note_post_change();
CREATE TRIGGER posts_go AFTER DELETE ON posts FOR EACH ROW
    WHEN (NOT OLD.is_private AND OLD.created_at < clock_timestamp() - interval '1 minute')
    EXECUTE FUNCTION note_post_change();
CREATE TRIGGER posts_hide_or_show AFTER UPDATE OF is_private ON posts FOR EACH ROW
    WHEN (OLD.is_private <> NEW.is_private AND OLD.created_at < clock_timestamp() - interval '1 minute')
    EXECUTE FUNCTION note_post_change();
CREATE TRIGGER posts_go_all AFTER TRUNCATE ON posts EXECUTE FUNCTION note_post_change();

DROP TRIGGER users_card_change ON users;
DROP FUNCTION note_card_change;
ALTER TABLE users DROP COLUMN card_changed_at;
ALTER TABLE posts ADD COLUMN author_name text;
UPDATE posts SET author_name = u.username FROM users u WHERE u.id = posts.user_id;
ALTER TABLE posts ALTER COLUMN author_name SET NOT NULL;
ALTER TABLE comments ADD COLUMN author_name text;
UPDATE comments SET author_name = u.username FROM users u WHERE u.id = comments.user_id;
ALTER TABLE comments ALTER COLUMN author_name SET NOT NULL;
ALTER TABLE notifications ADD COLUMN actor_name text;
UPDATE notifications SET actor_name = u.username FROM users u WHERE u.id = actor_id;
ALTER TABLE notifications ALTER COLUMN actor_name SET NOT NULL;
DROP INDEX follows_followers, follows_following;
ALTER TABLE follows DROP COLUMN id, ADD COLUMN follower_name text, ADD COLUMN followee_name text;
UPDATE follows SET follower_name = a.username, followee_name = b.username
    FROM users a, users b WHERE a.id = follower_id AND b.id = followee_id;
ALTER TABLE follows ALTER COLUMN follower_name SET NOT NULL, ALTER COLUMN followee_name SET NOT NULL;
CREATE FUNCTION rename_everywhere() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE posts SET author_name = NEW.username WHERE user_id = NEW.id;
    UPDATE comments SET author_name = NEW.username WHERE user_id = NEW.id;
    UPDATE notifications SET actor_name = NEW.username WHERE actor_id = NEW.id;
    UPDATE follows SET follower_name = NEW.username WHERE follower_id = NEW.id;
    UPDATE follows SET followee_name = NEW.username WHERE followee_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER users_rename AFTER UPDATE OF username ON users FOR EACH ROW
    WHEN (OLD.username <> NEW.username) EXECUTE FUNCTION rename_everywhere();

DROP INDEX posts_public, posts_public_of_user, posts_private_of_user;
ALTER TABLE comments DROP CONSTRAINT comments_pkey, ADD PRIMARY KEY (id);
CREATE INDEX posts_public ON posts (created_at DESC, id DESC) WHERE NOT is_private;
CREATE INDEX posts_public_of_user ON posts (user_id, created_at DESC, id DESC) WHERE NOT is_private;
CREATE INDEX posts_private_of_user ON posts (user_id, created_at DESC, id DESC) WHERE is_private;
CREATE INDEX comments_of_post ON comments (post_id, created_at DESC, id DESC);
CREATE INDEX follows_followers ON follows (followee_id, created_at DESC, follower_id DESC) INCLUDE (follower_name);
CREATE INDEX follows_following ON follows (follower_id, created_at DESC, followee_id DESC) INCLUDE (followee_name);
