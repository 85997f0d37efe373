-- The same schema as on PostgreSQL, with SQLite types. AUTOINCREMENT: ids are never reused.

CREATE TABLE users (
    id            integer PRIMARY KEY AUTOINCREMENT,
    username      text NOT NULL,
    email         text NOT NULL,
    password_hash text NOT NULL,
    is_active     boolean NOT NULL DEFAULT true,
    is_verified   boolean NOT NULL DEFAULT true,
    created_at    text NOT NULL
);
CREATE UNIQUE INDEX users_username_key ON users (lower(username));
CREATE UNIQUE INDEX users_email_key ON users (email);

-- One narrow row per user, so that counting rewrites little. Its lock serializes all changes to the notifications of the
-- user: transactions that change those lock this row first.
CREATE TABLE user_counters (
    user_id              integer PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    posts                integer NOT NULL DEFAULT 0,
    private_posts        integer NOT NULL DEFAULT 0,
    followers            integer NOT NULL DEFAULT 0,
    following            integer NOT NULL DEFAULT 0,
    notifications        integer NOT NULL DEFAULT 0,
    unread               integer NOT NULL DEFAULT 0,
    last_notification_at text NOT NULL DEFAULT ''
);

-- The number of public posts is the sum of all rows. A post counts in row `author % 16`, so that authors who publish
-- concurrently rarely wait for each other.
CREATE TABLE public_post_counters (
    shard integer PRIMARY KEY,
    posts integer NOT NULL DEFAULT 0
);
INSERT INTO public_post_counters (shard) VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15);

CREATE TABLE registrations (
    id              integer PRIMARY KEY AUTOINCREMENT,
    username        text NOT NULL,
    email           text NOT NULL,
    password_hash   text NOT NULL,
    code_hash       blob,
    code_expires_at text,
    tries           integer NOT NULL DEFAULT 0,
    created_at      text NOT NULL
);
CREATE INDEX registrations_email ON registrations (email, id DESC);
CREATE INDEX registrations_username ON registrations (lower(username), id DESC);
CREATE INDEX registrations_created_at ON registrations (created_at);

CREATE TABLE username_holds (
    username   text PRIMARY KEY,
    email      text NOT NULL,
    expires_at text NOT NULL
);
CREATE INDEX username_holds_expires_at ON username_holds (expires_at);

CREATE TABLE sessions (
    id               integer PRIMARY KEY,
    user_id          integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    refresh_id       text NOT NULL,
    previous_refresh text,
    refreshed_at     text NOT NULL,
    client           text,
    created_at       text NOT NULL,
    ends_at          text NOT NULL,
    ended_at         text
);
CREATE INDEX sessions_live ON sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_ends_at ON sessions (ends_at);

CREATE TABLE password_resets (
    user_id    integer PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    mail_id    integer NOT NULL,
    token_hash blob NOT NULL,
    expires_at text NOT NULL
);
CREATE UNIQUE INDEX password_resets_token_hash_key ON password_resets (token_hash);

-- Mails to send: their purpose, never their content.
CREATE TABLE mail_outbox (
    id              integer PRIMARY KEY AUTOINCREMENT,
    intent          text NOT NULL CHECK (intent IN ('verify', 'reset', 'already_registered')),
    registration_id integer,
    email           text,
    attempts        integer NOT NULL DEFAULT 0,
    created_at      text NOT NULL,
    next_attempt_at text,
    last_error      text
);
CREATE INDEX mail_outbox_due ON mail_outbox (next_attempt_at, id) WHERE next_attempt_at IS NOT NULL;

CREATE TABLE posts (
    id             integer PRIMARY KEY AUTOINCREMENT,
    user_id        integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    content        text,
    media_key      text,
    media_url      text,
    is_private     boolean NOT NULL,
    likes_count    integer NOT NULL DEFAULT 0,
    comments_count integer NOT NULL DEFAULT 0,
    created_at     text NOT NULL,
    updated_at     text
);
-- All public posts, those of one author, and the private posts of an author: each list is one or two ordered index scans.
CREATE INDEX posts_public ON posts (created_at DESC, id DESC) WHERE NOT is_private;
CREATE INDEX posts_public_of_user ON posts (user_id, created_at DESC, id DESC) WHERE NOT is_private;
CREATE INDEX posts_private_of_user ON posts (user_id, created_at DESC, id DESC) WHERE is_private;
CREATE UNIQUE INDEX posts_media_key ON posts (media_key) WHERE media_key IS NOT NULL;

-- Files to delete. A row is inserted before an upload starts and removed by the commit of its post.
CREATE TABLE media_deletions (
    media_key text PRIMARY KEY,
    due_at    text NOT NULL
);
CREATE INDEX media_deletions_due ON media_deletions (due_at);

CREATE TABLE likes (
    post_id    integer NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    user_id    integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at text NOT NULL,
    PRIMARY KEY (post_id, user_id)
);

CREATE TABLE comments (
    id         integer PRIMARY KEY AUTOINCREMENT,
    post_id    integer NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    user_id    integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    content    text NOT NULL,
    created_at text NOT NULL,
    updated_at text
);
CREATE INDEX comments_of_post ON comments (post_id, created_at DESC, id DESC);

CREATE TABLE follows (
    follower_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    followee_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at  text NOT NULL,
    PRIMARY KEY (follower_id, followee_id),
    CHECK (follower_id <> followee_id)
);
CREATE INDEX follows_followers ON follows (followee_id, created_at DESC, follower_id DESC);
CREATE INDEX follows_following ON follows (follower_id, created_at DESC, followee_id DESC);

-- The id is assigned while the recipient's row in user_counters is locked: among the notifications of one recipient, a
-- larger id was committed later and is not older.
CREATE TABLE notifications (
    id           integer PRIMARY KEY AUTOINCREMENT,
    recipient_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    actor_id     integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind         text NOT NULL CHECK (kind IN ('follow', 'like', 'comment')),
    post_id      integer REFERENCES posts (id) ON DELETE CASCADE,
    comment_id   integer,
    is_read      boolean NOT NULL DEFAULT false,
    created_at   text NOT NULL
);
CREATE UNIQUE INDEX notifications_of_recipient ON notifications (recipient_id, id);
CREATE INDEX notifications_unread ON notifications (recipient_id, id) WHERE NOT is_read;
CREATE UNIQUE INDEX notifications_follow_key ON notifications (recipient_id, actor_id) WHERE kind = 'follow';
CREATE UNIQUE INDEX notifications_post_key ON notifications (post_id, actor_id, coalesce(comment_id, 0))
    WHERE post_id IS NOT NULL;
