-- More rows, of which a batch of writes locks any one until it is on disk: with as many rows as concurrent batches,
-- half of them waited for another.
INSERT INTO public_post_counters (shard) SELECT generate_series(16, 63);
