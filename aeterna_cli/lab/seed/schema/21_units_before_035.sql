-- An installation of rc.9 made these columns in epoch seconds; only migration 035 converts them.
ALTER TABLE organizational_units
    ALTER COLUMN created_at DROP DEFAULT,
    ALTER COLUMN updated_at DROP DEFAULT,
    ALTER COLUMN created_at TYPE bigint USING extract(epoch FROM created_at),
    ALTER COLUMN updated_at TYPE bigint USING extract(epoch FROM updated_at);
ALTER TABLE user_roles
    ALTER COLUMN created_at DROP DEFAULT,
    ALTER COLUMN created_at TYPE bigint USING extract(epoch FROM created_at);
