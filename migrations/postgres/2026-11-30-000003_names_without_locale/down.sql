ALTER TABLE registrations ALTER COLUMN username TYPE text COLLATE "default";
DROP TRIGGER users_card_change ON users;
ALTER TABLE users ALTER COLUMN username TYPE text COLLATE "default";
CREATE CONSTRAINT TRIGGER users_card_change AFTER UPDATE OF username ON users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.username <> NEW.username) EXECUTE FUNCTION note_card_change();
