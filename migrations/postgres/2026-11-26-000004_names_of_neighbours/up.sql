-- Lists of followers and followed show names only. With the names in their indexes they need not look each user up,
-- which was most of what such a list cost, and the more the more users there are.
ALTER TABLE follows ADD COLUMN follower_name text, ADD COLUMN followee_name text;
UPDATE follows SET follower_name = a.username, followee_name = b.username
    FROM users a, users b WHERE a.id = follower_id AND b.id = followee_id;
ALTER TABLE follows ALTER COLUMN follower_name SET NOT NULL, ALTER COLUMN followee_name SET NOT NULL;
DROP INDEX follows_followers;
DROP INDEX follows_following;
CREATE INDEX follows_followers ON follows (followee_id, created_at DESC, follower_id DESC) INCLUDE (follower_name);
CREATE INDEX follows_following ON follows (follower_id, created_at DESC, followee_id DESC) INCLUDE (followee_name);

-- Nobody can change their name here. Should an operator do it, it is changed everywhere.
CREATE FUNCTION rename_neighbours() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE follows SET follower_name = NEW.username WHERE follower_id = NEW.id;
    UPDATE follows SET followee_name = NEW.username WHERE followee_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER users_rename AFTER UPDATE OF username ON users FOR EACH ROW
    WHEN (OLD.username <> NEW.username) EXECUTE FUNCTION rename_neighbours();
