-- More rows, of which each deed takes any: one holds its row until it is on disk, so that with as many rows as there
-- are deeds at once half of them waited for another.
INSERT INTO public_post_counters (shard) SELECT generate_series(16, 63);
