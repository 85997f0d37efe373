-- As on PostgreSQL. There is a single writer, so the triggers check whether a bucket covers the post.

CREATE TABLE post_blocks (
    created_at text NOT NULL,
    id         integer NOT NULL,
    posts      integer NOT NULL,
    PRIMARY KEY (created_at, id)
) WITHOUT ROWID;

CREATE TABLE post_block_changes (
    created_at text NOT NULL,
    id         integer NOT NULL,
    change     integer NOT NULL
);
CREATE INDEX post_block_changes_place ON post_block_changes (created_at, id);

CREATE TRIGGER posts_come AFTER INSERT ON posts
WHEN NOT NEW.is_private
    AND EXISTS (SELECT 1 FROM post_blocks WHERE (created_at, id) >= (NEW.created_at, NEW.id))
BEGIN
    INSERT INTO post_block_changes VALUES (NEW.created_at, NEW.id, 1);
END;
CREATE TRIGGER posts_go AFTER DELETE ON posts
WHEN NOT OLD.is_private
    AND EXISTS (SELECT 1 FROM post_blocks WHERE (created_at, id) >= (OLD.created_at, OLD.id))
BEGIN
    INSERT INTO post_block_changes VALUES (OLD.created_at, OLD.id, -1);
END;
CREATE TRIGGER posts_hide_or_show AFTER UPDATE OF is_private ON posts
WHEN OLD.is_private <> NEW.is_private
    AND EXISTS (SELECT 1 FROM post_blocks WHERE (created_at, id) >= (NEW.created_at, NEW.id))
BEGIN
    INSERT INTO post_block_changes
    VALUES (NEW.created_at, NEW.id, CASE WHEN NEW.is_private THEN -1 ELSE 1 END);
END;
