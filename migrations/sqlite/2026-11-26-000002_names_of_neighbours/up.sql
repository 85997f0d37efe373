-- Lists of followers and followed show names only. With the names in their indexes they need not look each user up,
-- which was most of what such a list cost. What an index has comes in its order, so the names are last.
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
    UPDATE follows SET follower_name = NEW.username WHERE follower_id = NEW.id;
    UPDATE follows SET followee_name = NEW.username WHERE followee_id = NEW.id;
END;
