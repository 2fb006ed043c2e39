-- The platform's tables that a recovery meets, in the shapes of its migrations: three kinds of
-- tenant columns, row security (forced on one table), epoch seconds and timestamptz.
CREATE TABLE tenants (
    id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    name text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL,
    deactivated_at timestamptz
);
CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE,
    display_name text,
    idp_provider text,
    idp_subject text,
    default_tenant_id uuid REFERENCES tenants ON DELETE SET NULL,
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    deleted_at timestamptz,
    UNIQUE (idp_provider, idp_subject)
);
CREATE TABLE companies (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    slug text NOT NULL,
    name text NOT NULL,
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    deleted_at timestamptz,
    UNIQUE (tenant_id, slug)
);
CREATE TABLE tenant_secrets (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    logical_name text NOT NULL,
    ciphertext bytea NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (tenant_id, logical_name)
);
CREATE TABLE memory_entries (
    id text PRIMARY KEY,
    tenant_id text NOT NULL,
    content text NOT NULL,
    memory_layer text NOT NULL,
    properties jsonb NOT NULL DEFAULT '{}',
    summaries jsonb,
    device_id text,
    importance_score double precision,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX memory_entries_tenant_layer ON memory_entries (tenant_id, memory_layer, updated_at);
CREATE TABLE knowledge_items (
    id text PRIMARY KEY,
    tenant_id text NOT NULL,
    kind text NOT NULL,
    content text NOT NULL,
    properties jsonb NOT NULL DEFAULT '{}',
    summaries jsonb,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE governance_events (
    id uuid PRIMARY KEY,
    tenant_id varchar(255) NOT NULL,
    idempotency_key text NOT NULL UNIQUE,
    event_type text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE governance_roles (
    id uuid PRIMARY KEY,
    company_id uuid,
    principal_id text NOT NULL,
    role text NOT NULL,
    granted_at timestamptz NOT NULL,
    revoked_at timestamptz
);
ALTER TABLE memory_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE knowledge_items ENABLE ROW LEVEL SECURITY;
ALTER TABLE governance_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE governance_roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE governance_roles FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON memory_entries
    USING (tenant_id = current_setting('app.tenant_id', true));
CREATE POLICY tenant_rows ON knowledge_items
    USING (tenant_id = current_setting('app.tenant_id', true));
CREATE POLICY tenant_rows ON governance_events
    USING (tenant_id = current_setting('app.tenant_id', true));
CREATE POLICY company_rows ON governance_roles
    USING (company_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO aeterna_app;
