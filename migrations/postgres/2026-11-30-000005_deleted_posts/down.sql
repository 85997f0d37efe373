DROP TRIGGER posts_remember ON posts;
DROP TRIGGER posts_remember_all ON posts;
DROP FUNCTION remember_deleted_posts;

UPDATE user_counters c
SET notifications = c.notifications - x.deleted, unread = c.unread - x.unread
FROM (SELECT recipient_id, count(*) AS deleted, count(*) FILTER (WHERE NOT is_read) AS unread
      FROM notifications JOIN deleted_posts USING (post_id) GROUP BY recipient_id) AS x
WHERE c.user_id = x.recipient_id;
DELETE FROM notifications WHERE post_id IN (SELECT post_id FROM deleted_posts);
DELETE FROM likes WHERE post_id IN (SELECT post_id FROM deleted_posts);
DELETE FROM comments WHERE post_id IN (SELECT post_id FROM deleted_posts);
DROP TABLE deleted_posts;

ALTER TABLE likes ADD CONSTRAINT likes_post_id_fkey FOREIGN KEY (post_id) REFERENCES posts ON DELETE CASCADE;
ALTER TABLE comments ADD CONSTRAINT comments_post_id_fkey FOREIGN KEY (post_id) REFERENCES posts ON DELETE CASCADE;
CREATE TRIGGER posts_forget AFTER DELETE ON posts FOR EACH ROW EXECUTE FUNCTION forget_notifications();
