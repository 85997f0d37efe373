-- Whoever tells somebody has proven already that all of it is there, and keeps it there until the end: the post and the
-- recipient's row in `user_counters` are locked, and the actor by the foreign key of the like, the comment or the follow.
-- To prove it once more by three foreign keys was a quarter of what a like cost. What is left for them to do is done here:
-- notifications go with what they are about.
ALTER TABLE notifications
    DROP CONSTRAINT notifications_recipient_id_fkey,
    DROP CONSTRAINT notifications_actor_id_fkey,
    DROP CONSTRAINT notifications_post_id_fkey;

CREATE FUNCTION forget_notifications() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM notifications WHERE TG_TABLE_NAME = 'user_counters' OR post_id IS NOT NULL;
    ELSIF TG_TABLE_NAME = 'posts' THEN
        DELETE FROM notifications WHERE post_id = OLD.id;
    ELSIF TG_TABLE_NAME = 'users' THEN
        DELETE FROM notifications WHERE actor_id = OLD.id;
    ELSE
        DELETE FROM notifications WHERE recipient_id = OLD.user_id;
    END IF;
    RETURN NULL;
END $$;

-- After each of these rows, for whoever deletes it has waited for those who had it locked. A user's counters go with the user.
CREATE TRIGGER posts_forget AFTER DELETE ON posts FOR EACH ROW EXECUTE FUNCTION forget_notifications();
CREATE TRIGGER users_forget AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION forget_notifications();
CREATE TRIGGER user_counters_forget AFTER DELETE ON user_counters FOR EACH ROW EXECUTE FUNCTION forget_notifications();
CREATE TRIGGER posts_forget_all AFTER TRUNCATE ON posts EXECUTE FUNCTION forget_notifications();
CREATE TRIGGER user_counters_forget_all AFTER TRUNCATE ON user_counters EXECUTE FUNCTION forget_notifications();
