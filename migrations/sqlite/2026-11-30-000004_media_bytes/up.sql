-- As on PostgreSQL.

ALTER TABLE posts ADD COLUMN media_bytes integer NOT NULL DEFAULT 0;
ALTER TABLE user_counters ADD COLUMN media_bytes integer NOT NULL DEFAULT 0;
ALTER TABLE media_deletions ADD COLUMN owner_id integer;
ALTER TABLE media_deletions ADD COLUMN bytes integer;
