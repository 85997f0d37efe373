DROP TABLE notifications, follows, comments, likes, media_deletions, posts, mail_outbox, password_resets, sessions,
    username_holds, registrations, public_post_counters, user_counters, users;
