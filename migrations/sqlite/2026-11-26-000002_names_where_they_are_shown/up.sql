-- Every list shows names. To look each one up was a good part of what lists cost, for followers most of it. Names stand
-- with what is shown now, those of followers in the indexes of their lists (which come in the order of all that an index
-- has, so they are last).
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

-- Nobody can change their name here. Should an operator do it, it is changed everywhere.
CREATE TRIGGER users_rename AFTER UPDATE OF username ON users WHEN OLD.username <> NEW.username
BEGIN
    UPDATE posts SET author_name = NEW.username WHERE user_id = NEW.id;
    UPDATE comments SET author_name = NEW.username WHERE user_id = NEW.id;
    UPDATE notifications SET actor_name = NEW.username WHERE actor_id = NEW.id;
    UPDATE follows SET follower_name = NEW.username WHERE follower_id = NEW.id;
    UPDATE follows SET followee_name = NEW.username WHERE followee_id = NEW.id;
END;
