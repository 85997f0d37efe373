-- A transaction that inserts a notification already holds locks on all rows it refers to: the post, the recipient's row
-- in `user_counters`, and the actor through the foreign key of the like, comment or follow. Three more foreign keys were
-- a quarter of the cost of a like. These triggers replace their cascades: a notification is deleted with its subject.
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

-- AFTER triggers: by then the deleting transaction has waited for all holders of the row lock. Deleting a user deletes its
-- counters.
CREATE TRIGGER posts_forget AFTER DELETE ON posts FOR EACH ROW EXECUTE FUNCTION forget_notifications();
CREATE TRIGGER users_forget AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION forget_notifications();
CREATE TRIGGER user_counters_forget AFTER DELETE ON user_counters FOR EACH ROW EXECUTE FUNCTION forget_notifications();
CREATE TRIGGER posts_forget_all AFTER TRUNCATE ON posts EXECUTE FUNCTION forget_notifications();
CREATE TRIGGER user_counters_forget_all AFTER TRUNCATE ON user_counters EXECUTE FUNCTION forget_notifications();
