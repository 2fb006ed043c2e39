-- What the server itself makes at every start, before any migration file: tenants, the older of the
-- two hierarchies (TEXT ids), and the tables whose tenant_id is TEXT without a foreign key.
CREATE TABLE tenants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug text NOT NULL UNIQUE,
    name text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    source_owner text NOT NULL DEFAULT 'admin',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deactivated_at timestamptz
);
CREATE TABLE tenant_domain_mappings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    domain text NOT NULL,
    verified boolean NOT NULL DEFAULT false,
    source text NOT NULL DEFAULT 'admin',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, domain)
);
CREATE TABLE tenant_repository_bindings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL UNIQUE REFERENCES tenants ON DELETE CASCADE,
    kind text NOT NULL,
    local_path text,
    remote_url text,
    branch text NOT NULL DEFAULT 'main',
    branch_policy text NOT NULL DEFAULT 'direct_commit',
    credential_kind text NOT NULL DEFAULT 'none',
    credential_ref text,
    github_owner text,
    github_repo text,
    source_owner text NOT NULL DEFAULT 'admin',
    git_provider_connection_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE organizational_units (
    id text PRIMARY KEY,
    name text NOT NULL,
    type text NOT NULL,
    parent_id text REFERENCES organizational_units,
    tenant_id text NOT NULL,
    metadata jsonb DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE user_roles (
    user_id text NOT NULL,
    tenant_id text NOT NULL,
    unit_id text NOT NULL REFERENCES organizational_units,
    role text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, tenant_id, unit_id, role)
);
CREATE TABLE unit_policies (
    id text PRIMARY KEY,
    unit_id text NOT NULL REFERENCES organizational_units,
    policy jsonb NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE project_team_assignments (
    project_id text NOT NULL REFERENCES organizational_units,
    team_id text NOT NULL REFERENCES organizational_units,
    tenant_id text NOT NULL,
    assignment_type text NOT NULL CHECK (assignment_type IN ('owner', 'contributor')),
    created_at bigint NOT NULL,
    PRIMARY KEY (project_id, team_id, tenant_id)
);
CREATE TABLE sync_state (
    id text NOT NULL,
    tenant_id text NOT NULL,
    data jsonb NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (id, tenant_id)
);
CREATE INDEX idx_sync_state_tenant_id ON sync_state (tenant_id);
CREATE TABLE job_status (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job_name text NOT NULL,
    tenant_id text NOT NULL,
    status text NOT NULL,
    message text,
    started_at bigint NOT NULL,
    finished_at bigint,
    duration_ms bigint
);
CREATE TABLE drift_results (
    project_id text NOT NULL,
    tenant_id text NOT NULL,
    drift_score real NOT NULL,
    confidence real NOT NULL DEFAULT 1.0,
    violations jsonb NOT NULL,
    suppressed_violations jsonb NOT NULL DEFAULT '[]',
    requires_manual_review boolean NOT NULL DEFAULT false,
    "timestamp" bigint NOT NULL,
    PRIMARY KEY (project_id, tenant_id, "timestamp")
);
CREATE TABLE drift_configs (
    project_id text NOT NULL,
    tenant_id text NOT NULL,
    threshold real NOT NULL DEFAULT 0.3,
    low_confidence_threshold real NOT NULL DEFAULT 0.7,
    auto_suppress_info boolean NOT NULL DEFAULT false,
    updated_at bigint NOT NULL,
    PRIMARY KEY (project_id, tenant_id)
);
CREATE TABLE graph_nodes (
    id text NOT NULL,
    tenant_id text NOT NULL,
    label text NOT NULL,
    properties jsonb NOT NULL DEFAULT '{}',
    created_at bigint NOT NULL,
    PRIMARY KEY (id, tenant_id)
);
CREATE TABLE graph_edges (
    id text NOT NULL,
    tenant_id text NOT NULL,
    source_id text NOT NULL,
    target_id text NOT NULL,
    relation text NOT NULL,
    properties jsonb NOT NULL DEFAULT '{}',
    created_at bigint NOT NULL,
    PRIMARY KEY (id, tenant_id),
    FOREIGN KEY (source_id, tenant_id) REFERENCES graph_nodes (id, tenant_id) ON DELETE CASCADE,
    FOREIGN KEY (target_id, tenant_id) REFERENCES graph_nodes (id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX idx_graph_edges_source ON graph_edges (source_id, tenant_id);
CREATE INDEX idx_graph_edges_target ON graph_edges (target_id, tenant_id);
CREATE TABLE memory_entries (
    id text PRIMARY KEY,
    tenant_id text NOT NULL,
    content text NOT NULL,
    memory_layer text NOT NULL,
    properties jsonb DEFAULT '{}',
    device_id text,
    importance_score real DEFAULT 0.0,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint,
    last_accessed_at bigint
);
CREATE INDEX idx_memory_entries_device_id ON memory_entries (device_id, tenant_id);
CREATE INDEX idx_memory_entries_updated_at ON memory_entries (updated_at, tenant_id);
CREATE TABLE knowledge_items (
    id text PRIMARY KEY,
    tenant_id text NOT NULL,
    type text NOT NULL,
    title text NOT NULL,
    content text NOT NULL,
    tags text[],
    properties jsonb DEFAULT '{}',
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE error_signatures (
    id text PRIMARY KEY,
    tenant_id text NOT NULL,
    error_type text NOT NULL,
    message_pattern text NOT NULL,
    stack_patterns jsonb DEFAULT '[]',
    context_patterns jsonb DEFAULT '[]',
    embedding jsonb,
    occurrence_count integer DEFAULT 1,
    first_seen_at bigint NOT NULL,
    last_seen_at bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE resolutions (
    id text PRIMARY KEY,
    tenant_id text NOT NULL,
    error_signature_id text NOT NULL REFERENCES error_signatures ON DELETE CASCADE,
    description text NOT NULL,
    changes jsonb DEFAULT '[]',
    success_rate real DEFAULT 0.0,
    application_count integer DEFAULT 0,
    last_success_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
-- The server makes this one without the foreign key that the migration file has.
CREATE TABLE hindsight_notes (
    id text PRIMARY KEY,
    tenant_id text NOT NULL,
    error_signature_id text NOT NULL,
    content text NOT NULL,
    tags jsonb DEFAULT '[]',
    resolution_ids jsonb DEFAULT '[]',
    quality_score real,
    promoted_to_layer text,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE remediation_requests (
    id text PRIMARY KEY,
    request_type text NOT NULL,
    risk_tier text NOT NULL,
    entity_type text NOT NULL,
    entity_ids jsonb NOT NULL DEFAULT '[]',
    tenant_id text,
    description text NOT NULL,
    proposed_action text NOT NULL,
    detected_by text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    created_at bigint NOT NULL,
    reviewed_by text,
    reviewed_at bigint,
    resolution_notes text,
    executed_at bigint
);
CREATE TABLE dead_letter_items (
    id text PRIMARY KEY,
    item_type text NOT NULL,
    item_id text NOT NULL,
    tenant_id text NOT NULL,
    error text NOT NULL,
    retry_count integer NOT NULL DEFAULT 0,
    max_retries integer NOT NULL DEFAULT 5,
    first_failed_at bigint NOT NULL,
    last_failed_at bigint NOT NULL,
    status text NOT NULL DEFAULT 'active',
    metadata jsonb NOT NULL DEFAULT '{}'
);
CREATE TABLE tenant_storage_quotas (
    tenant_id text PRIMARY KEY,
    memory_max bigint,
    knowledge_max bigint,
    vector_max bigint,
    total_max bigint,
    updated_at bigint NOT NULL
);
CREATE TABLE _aeterna_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
