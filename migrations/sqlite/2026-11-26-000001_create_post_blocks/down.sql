DROP TRIGGER posts_hide_or_show;
DROP TRIGGER posts_go;
DROP TRIGGER posts_come;
DROP TABLE post_block_changes;
DROP TABLE post_blocks;
