DROP TRIGGER posts_remember;

UPDATE user_counters SET
    notifications = notifications - (SELECT count(*) FROM notifications n JOIN deleted_posts USING (post_id)
        WHERE n.recipient_id = user_counters.user_id),
    unread = unread - (SELECT count(*) FROM notifications n JOIN deleted_posts USING (post_id)
        WHERE n.recipient_id = user_counters.user_id AND NOT n.is_read);
DELETE FROM notifications WHERE post_id IN (SELECT post_id FROM deleted_posts);
DELETE FROM likes WHERE post_id IN (SELECT post_id FROM deleted_posts);
DELETE FROM comments WHERE post_id IN (SELECT post_id FROM deleted_posts);
DROP TABLE deleted_posts;

PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, 'post_id    integer NOT NULL', 'post_id    integer NOT NULL REFERENCES posts (id) ON DELETE CASCADE')
WHERE type = 'table' AND name IN ('likes', 'comments');
UPDATE sqlite_schema
SET sql = replace(sql, 'post_id      integer', 'post_id      integer REFERENCES posts (id) ON DELETE CASCADE')
WHERE type = 'table' AND name = 'notifications';
PRAGMA writable_schema = RESET;
