-- As on PostgreSQL.

ALTER TABLE registrations ADD COLUMN handle text;

CREATE TABLE code_attempts (
    registration_id integer NOT NULL REFERENCES registrations (id) ON DELETE CASCADE,
    client          blob NOT NULL,
    tries           integer NOT NULL,
    PRIMARY KEY (registration_id, client)
) WITHOUT ROWID;

CREATE INDEX mail_outbox_created_at ON mail_outbox (created_at);
