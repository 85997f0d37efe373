-- Denormalizes user names. All lists return names; looking up each one was a large part of their cost, most of it for
-- followers. The indexes of followers include the names, as last column because an index is ordered by all columns.
ALTER TABLE posts ADD COLUMN author_name text NOT NULL DEFAULT '';
UPDATE posts SET author_name = (SELECT username FROM users WHERE id = user_id);
ALTER TABLE comments ADD COLUMN author_name text NOT NULL DEFAULT '';
UPDATE comments SET author_name = (SELECT username FROM users WHERE id = user_id);
ALTER TABLE notifications ADD COLUMN actor_name text NOT NULL DEFAULT '';
UPDATE notifications SET actor_name = (SELECT username FROM users WHERE id = actor_id);
ALTER TABLE follows ADD COLUMN follower_name text NOT NULL DEFAULT '';
ALTER TABLE follows ADD COLUMN followee_name text NOT NULL DEFAULT '';
UPDATE follows SET follower_name = (SELECT username FROM users WHERE id = follower_id),
    followee_name = (SELECT username FROM users WHERE id = followee_id);
DROP INDEX follows_followers;
DROP INDEX follows_following;
CREATE INDEX follows_followers ON follows (followee_id, created_at DESC, follower_id DESC, follower_name);
CREATE INDEX follows_following ON follows (follower_id, created_at DESC, followee_id DESC, followee_name);

-- The API cannot rename users. If an operator does, all copies of the name change.
CREATE TRIGGER users_rename AFTER UPDATE OF username ON users WHEN OLD.username <> NEW.username
BEGIN
    UPDATE posts SET author_name = NEW.username WHERE user_id = NEW.id;
    UPDATE comments SET author_name = NEW.username WHERE user_id = NEW.id;
    UPDATE notifications SET actor_name = NEW.username WHERE actor_id = NEW.id;
    UPDATE follows SET follower_name = NEW.username WHERE follower_id = NEW.id;
    UPDATE follows SET followee_name = NEW.username WHERE followee_id = NEW.id;
END;
