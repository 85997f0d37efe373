-- As on PostgreSQL.

CREATE TABLE deleted_posts (
    post_id   integer PRIMARY KEY,
    author_id integer NOT NULL
);

-- Foreign keys are dropped in the text of the schema (sqlite.org/lang_altertable.html, section 7): to copy the tables would
-- take as long as there are many rows.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, ' REFERENCES posts (id) ON DELETE CASCADE', '')
WHERE type = 'table' AND name IN ('likes', 'comments', 'notifications');
PRAGMA writable_schema = RESET;

CREATE TRIGGER posts_remember AFTER DELETE ON posts
BEGIN
    INSERT INTO deleted_posts VALUES (OLD.id, OLD.user_id);
END;
