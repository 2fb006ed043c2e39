-- Migrations 026 to 035: secrets, the tenant's place in the newer hierarchy, graph events.
CREATE TABLE tenant_secrets (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    logical_name text NOT NULL,
    kms_key_id text NOT NULL,
    wrapped_dek bytea NOT NULL,
    ciphertext bytea NOT NULL,
    nonce bytea NOT NULL,
    generation bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, logical_name)
);
CREATE FUNCTION tenant_secrets_touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
CREATE TRIGGER trg_tenant_secrets_touch_updated_at BEFORE UPDATE ON tenant_secrets
    FOR EACH ROW EXECUTE FUNCTION tenant_secrets_touch_updated_at();
ALTER TABLE tenants
    ADD COLUMN last_applied_manifest_hash text CONSTRAINT tenants_manifest_hash_format
        CHECK (last_applied_manifest_hash ~ '^sha256:[0-9a-f]{64}$'),
    ADD COLUMN manifest_generation bigint NOT NULL DEFAULT 0
        CONSTRAINT tenants_manifest_generation_nonneg CHECK (manifest_generation >= 0),
    ADD COLUMN legal_entity_name text;
ALTER TABLE companies
    ADD COLUMN tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    DROP CONSTRAINT companies_slug_key,
    ADD CONSTRAINT companies_tenant_slug_key UNIQUE (tenant_id, slug);
ALTER TABLE agents
    ADD COLUMN tenant_id uuid REFERENCES tenants ON DELETE CASCADE,
    ADD CONSTRAINT agents_tenant_id_required_when_active CHECK (
        tenant_id IS NOT NULL OR status = 'revoked' OR deleted_at IS NOT NULL
    );
CREATE INDEX idx_agents_tenant_id ON agents (tenant_id) WHERE deleted_at IS NULL;
ALTER TABLE governance_audit_log
    ADD COLUMN via text CHECK (via IN ('cli', 'ui', 'api')),
    ADD COLUMN client_version text,
    ADD COLUMN manifest_hash text,
    ADD COLUMN generation bigint,
    ADD COLUMN dry_run boolean;
CREATE UNIQUE INDEX idx_organizational_units_tenant_parent_name_uniq
    ON organizational_units (tenant_id, coalesce(parent_id, ''), name);
CREATE UNIQUE INDEX idx_tenant_domain_mappings_domain_uniq
    ON tenant_domain_mappings (lower(domain)) WHERE verified;
CREATE TABLE graph_events (
    id bigserial PRIMARY KEY,
    tenant_id text NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX idx_graph_events_tenant_seq ON graph_events (tenant_id, seq);
ALTER TABLE graph_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY graph_events_tenant_isolation ON graph_events
    USING (tenant_id = current_setting('app.tenant_id', true));
