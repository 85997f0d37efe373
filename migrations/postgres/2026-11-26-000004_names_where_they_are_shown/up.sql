-- Denormalizes user names. All lists return names; looking up each one was a large part of their cost, most of it for
-- followers, and grew with the number of users. The indexes of followers include the names.
ALTER TABLE posts ADD COLUMN author_name text;
UPDATE posts SET author_name = u.username FROM users u WHERE u.id = posts.user_id;
ALTER TABLE posts ALTER COLUMN author_name SET NOT NULL;

ALTER TABLE comments ADD COLUMN author_name text;
UPDATE comments SET author_name = u.username FROM users u WHERE u.id = comments.user_id;
ALTER TABLE comments ALTER COLUMN author_name SET NOT NULL;

ALTER TABLE notifications ADD COLUMN actor_name text;
UPDATE notifications SET actor_name = u.username FROM users u WHERE u.id = actor_id;
ALTER TABLE notifications ALTER COLUMN actor_name SET NOT NULL;

ALTER TABLE follows ADD COLUMN follower_name text, ADD COLUMN followee_name text;
UPDATE follows SET follower_name = a.username, followee_name = b.username
    FROM users a, users b WHERE a.id = follower_id AND b.id = followee_id;
ALTER TABLE follows ALTER COLUMN follower_name SET NOT NULL, ALTER COLUMN followee_name SET NOT NULL;
DROP INDEX follows_followers;
DROP INDEX follows_following;
CREATE INDEX follows_followers ON follows (followee_id, created_at DESC, follower_id DESC) INCLUDE (follower_name);
CREATE INDEX follows_following ON follows (follower_id, created_at DESC, followee_id DESC) INCLUDE (followee_name);

-- The API cannot rename users. If an operator does, all copies of the name change.
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
