DROP TRIGGER posts_go_all ON posts;
DROP TRIGGER posts_hide_or_show ON posts;
DROP TRIGGER posts_go ON posts;
DROP TRIGGER posts_come ON posts;
DROP FUNCTION note_post_change;
DROP TABLE post_block_changes;
DROP TABLE post_blocks;
