-- `lower` follows the collation of its argument: in Turkish, the lower case of I is another letter than i. With this one it
-- lowers A to Z in every database.
DROP TRIGGER users_card_change ON users;
ALTER TABLE users ALTER COLUMN username TYPE text COLLATE "C";
CREATE CONSTRAINT TRIGGER users_card_change AFTER UPDATE OF username ON users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.username <> NEW.username) EXECUTE FUNCTION note_card_change();
ALTER TABLE registrations ALTER COLUMN username TYPE text COLLATE "C";
