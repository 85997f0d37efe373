-- Posts are deleted at once, their likes, comments and notifications in steps: a single statement would take as long as
-- there are many of them, hold its locks meanwhile, and never succeed beyond its timeout. No list shows likes or comments
-- without their post. A transaction that adds one holds a lock on the post, so none is added afterwards.
CREATE TABLE deleted_posts (
    post_id   bigint PRIMARY KEY,
    author_id bigint NOT NULL
);

ALTER TABLE likes DROP CONSTRAINT likes_post_id_fkey;
ALTER TABLE comments DROP CONSTRAINT comments_post_id_fkey;
DROP TRIGGER posts_forget ON posts;

CREATE FUNCTION remember_deleted_posts() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM likes;
        DELETE FROM comments;
    ELSE
        INSERT INTO deleted_posts VALUES (OLD.id, OLD.user_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER posts_remember AFTER DELETE ON posts FOR EACH ROW EXECUTE FUNCTION remember_deleted_posts();
CREATE TRIGGER posts_remember_all AFTER TRUNCATE ON posts EXECUTE FUNCTION remember_deleted_posts();
