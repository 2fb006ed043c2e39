-- What the identity provider's synchronisation adds: a table that names teams by a soft uuid, and
-- three columns of the older hierarchy.
CREATE TABLE idp_group_mappings (
    idp_group_id text NOT NULL,
    team_id uuid NOT NULL,
    idp_provider text NOT NULL DEFAULT 'github',
    created_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (idp_group_id, idp_provider)
);
ALTER TABLE organizational_units
    ADD COLUMN external_id text,
    ADD COLUMN idp_provider text,
    ADD COLUMN slug text;
