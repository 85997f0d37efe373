DROP INDEX mail_outbox_created_at;
DROP TABLE code_attempts;
ALTER TABLE registrations DROP COLUMN handle;
