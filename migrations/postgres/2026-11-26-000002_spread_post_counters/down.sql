UPDATE public_post_counters SET posts = posts + (SELECT sum(posts) FROM public_post_counters WHERE shard > 15) WHERE shard = 0;
DELETE FROM public_post_counters WHERE shard > 15;
