ALTER TABLE media_deletions DROP COLUMN bytes;
ALTER TABLE media_deletions DROP COLUMN owner_id;
ALTER TABLE user_counters DROP COLUMN media_bytes;
ALTER TABLE posts DROP COLUMN media_bytes;
