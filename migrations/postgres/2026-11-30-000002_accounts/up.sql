-- What clients know a registration by. Null for those that were pending before.
ALTER TABLE registrations ADD COLUMN handle text;

-- Attempts to enter a code, by the keyed hash of the client's address. `registrations.tries` has their sum.
CREATE TABLE code_attempts (
    registration_id bigint NOT NULL REFERENCES registrations ON DELETE CASCADE,
    client          bytea NOT NULL,
    tries           integer NOT NULL,
    PRIMARY KEY (registration_id, client)
);

-- Mails are found by the time of their request, and dead ones are deleted by it.
CREATE INDEX mail_outbox_created_at ON mail_outbox (created_at);
