DROP TRIGGER users_rename;
DROP INDEX follows_followers;
DROP INDEX follows_following;
ALTER TABLE follows DROP COLUMN follower_name;
ALTER TABLE follows DROP COLUMN followee_name;
CREATE INDEX follows_followers ON follows (followee_id, created_at DESC, follower_id DESC);
CREATE INDEX follows_following ON follows (follower_id, created_at DESC, followee_id DESC);
