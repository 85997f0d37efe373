-- Counts public posts by bucket, so that a far page of the feed is found without scanning all posts before it.
--
-- The key of a bucket is the position of its newest post. It covers the public posts up to that position that no older
-- bucket covers: `posts` of them when they were counted, plus every `change` in that range since. Posts newer than the
-- newest bucket are not counted.
CREATE TABLE post_blocks (
    created_at timestamptz NOT NULL,
    id         bigint NOT NULL,
    posts      integer NOT NULL,
    PRIMARY KEY (created_at, id)
) WITH (fillfactor = 90);

-- A change is inserted instead of updating the bucket, so that transactions never wait for each other or deadlock. A
-- reader sees posts and changes in one snapshot, so they are always consistent.
CREATE TABLE post_block_changes (
    created_at timestamptz NOT NULL,
    id         bigint NOT NULL,
    change     integer NOT NULL
);
CREATE INDEX post_block_changes_place ON post_block_changes (created_at, id);

CREATE FUNCTION note_post_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM post_blocks;
        DELETE FROM post_block_changes;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO post_block_changes VALUES (OLD.created_at, OLD.id, -1);
    ELSE
        INSERT INTO post_block_changes
        VALUES (NEW.created_at, NEW.id, CASE WHEN NEW.is_private THEN -1 ELSE 1 END);
    END IF;
    RETURN NULL;
END $$;

-- A post younger than a minute is in no bucket yet: such an insert, as nearly all are, adds no change. A late insert (an
-- import, a clock that is behind) does.
CREATE TRIGGER posts_come AFTER INSERT ON posts FOR EACH ROW
    WHEN (NOT NEW.is_private AND NEW.created_at < clock_timestamp() - interval '1 minute')
    EXECUTE FUNCTION note_post_change();
CREATE TRIGGER posts_go AFTER DELETE ON posts FOR EACH ROW
    WHEN (NOT OLD.is_private AND OLD.created_at < clock_timestamp() - interval '1 minute')
    EXECUTE FUNCTION note_post_change();
CREATE TRIGGER posts_hide_or_show AFTER UPDATE OF is_private ON posts FOR EACH ROW
    WHEN (OLD.is_private <> NEW.is_private AND OLD.created_at < clock_timestamp() - interval '1 minute')
    EXECUTE FUNCTION note_post_change();
CREATE TRIGGER posts_go_all AFTER TRUNCATE ON posts EXECUTE FUNCTION note_post_change();
