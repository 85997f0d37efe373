-- Sizes of files, for the quota of each account. Files of posts from before count as empty.
ALTER TABLE posts ADD COLUMN media_bytes bigint NOT NULL DEFAULT 0;

-- The files of a user's posts, and those that are being uploaded.
ALTER TABLE user_counters ADD COLUMN media_bytes bigint NOT NULL DEFAULT 0;

-- A file that is being uploaded counts for its owner until its post has it or it is deleted. Null for other files.
ALTER TABLE media_deletions ADD COLUMN owner_id bigint;
ALTER TABLE media_deletions ADD COLUMN bytes bigint;
