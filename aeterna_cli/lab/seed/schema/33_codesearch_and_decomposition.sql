-- Migrations 012 and 014.
-- decomposition_*.tenant_id takes only ids of organizational units: a tenant's uuid has to be one.
CREATE TABLE decomposition_policy_weights (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES organizational_units,
    action_type text NOT NULL,
    weight double precision NOT NULL DEFAULT 0.5 CHECK (weight >= 0 AND weight <= 1),
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    UNIQUE (tenant_id, action_type)
);
CREATE TABLE decomposition_policy_state (
    id text PRIMARY KEY,
    tenant_id text NOT NULL UNIQUE REFERENCES organizational_units,
    epsilon double precision NOT NULL DEFAULT 0.1 CHECK (epsilon >= 0.01 AND epsilon <= 1),
    step_count integer NOT NULL DEFAULT 0,
    learning_rate double precision NOT NULL DEFAULT 0.001
        CHECK (learning_rate > 0 AND learning_rate <= 1),
    gamma double precision NOT NULL DEFAULT 0.95 CHECK (gamma >= 0 AND gamma <= 1),
    success_weight double precision NOT NULL DEFAULT 1.0 CHECK (success_weight >= 0),
    efficiency_weight double precision NOT NULL DEFAULT 0.3 CHECK (efficiency_weight >= 0),
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE decomposition_trajectories (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES organizational_units,
    query text NOT NULL,
    started_at bigint NOT NULL,
    completed_at bigint,
    outcome jsonb,
    reward double precision CHECK (reward >= -1 AND reward <= 1),
    tokens_used integer NOT NULL DEFAULT 0 CHECK (tokens_used >= 0),
    max_depth integer NOT NULL DEFAULT 0 CHECK (max_depth >= 0),
    actions jsonb NOT NULL DEFAULT '[]',
    created_at bigint NOT NULL
);
CREATE INDEX idx_decomposition_trajectories_tenant ON decomposition_trajectories
    (tenant_id, created_at);
CREATE TABLE codesearch_identities (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id text NOT NULL,
    name varchar(255) NOT NULL,
    provider varchar(50) NOT NULL,
    auth_type varchar(50) NOT NULL,
    secret_id text NOT NULL,
    secret_provider varchar(50) NOT NULL,
    scopes text[] DEFAULT '{}',
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    UNIQUE (tenant_id, name)
);
CREATE TABLE codesearch_repositories (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id text NOT NULL,
    identity_id uuid REFERENCES codesearch_identities ON DELETE SET NULL,
    name varchar(255) NOT NULL,
    type varchar(20) NOT NULL CHECK (type IN ('local', 'remote', 'hybrid')),
    remote_url text,
    local_path text,
    current_branch varchar(255) DEFAULT 'main',
    tracked_branches text[] DEFAULT '{}',
    sync_strategy varchar(20) NOT NULL DEFAULT 'manual'
        CHECK (sync_strategy IN ('hook', 'job', 'manual')),
    sync_interval_mins integer DEFAULT 15,
    status varchar(20) NOT NULL DEFAULT 'requested' CHECK (status IN (
        'requested', 'pending', 'approved', 'cloning', 'indexing', 'ready', 'error'
    )),
    last_indexed_commit varchar(40),
    last_indexed_at timestamptz,
    last_used_at timestamptz,
    owner_id text,
    shard_id text,
    cold_storage_uri text,
    config jsonb DEFAULT '{}',
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    UNIQUE (tenant_id, name)
);
CREATE TABLE codesearch_index_metadata (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    repository_id uuid NOT NULL REFERENCES codesearch_repositories ON DELETE CASCADE,
    commit_sha varchar(40) NOT NULL,
    parent_commit_sha varchar(40),
    files_indexed integer NOT NULL,
    files_removed integer DEFAULT 0,
    files_renamed integer DEFAULT 0,
    indexing_duration_ms integer,
    embedding_api_calls integer,
    indexed_at timestamptz DEFAULT now()
);
CREATE TABLE codesearch_requests (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    repository_id uuid NOT NULL REFERENCES codesearch_repositories ON DELETE CASCADE,
    requester_id text NOT NULL,
    status varchar(20) NOT NULL DEFAULT 'requested'
        CHECK (status IN ('requested', 'pending', 'approved', 'rejected')),
    policy_result jsonb,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);
CREATE TABLE codesearch_usage_metrics (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    repository_id uuid NOT NULL REFERENCES codesearch_repositories ON DELETE CASCADE,
    branch varchar(255) NOT NULL,
    search_count integer DEFAULT 0,
    trace_count integer DEFAULT 0,
    last_active_at timestamptz DEFAULT now(),
    period_start timestamptz DEFAULT now(),
    UNIQUE (repository_id, branch)
);
CREATE TABLE codesearch_cleanup_logs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    repository_id uuid NOT NULL,
    repository_name varchar(255) NOT NULL,
    branch text,
    reason text NOT NULL,
    action_taken varchar(50) NOT NULL,
    performed_by text,
    executed_at timestamptz DEFAULT now()
);
CREATE TABLE codesearch_indexer_shards (
    shard_id text PRIMARY KEY,
    pod_name text NOT NULL,
    pod_ip text NOT NULL,
    capacity integer NOT NULL DEFAULT 100,
    current_load integer NOT NULL DEFAULT 0,
    status varchar(20) NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'draining', 'offline', 'maintenance')),
    last_heartbeat timestamptz NOT NULL,
    registered_at timestamptz DEFAULT now()
);
DO $$
DECLARE
    subject text;
BEGIN
    FOREACH subject IN ARRAY ARRAY[
        'decomposition_policy_weights', 'decomposition_policy_state', 'decomposition_trajectories',
        'codesearch_identities', 'codesearch_repositories'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', subject);
        EXECUTE format(
            'CREATE POLICY %I ON %I USING (tenant_id = current_setting(''app.tenant_id'', true))',
            subject || '_tenant_isolation', subject
        );
    END LOOP;
    FOREACH subject IN ARRAY ARRAY[
        'codesearch_index_metadata', 'codesearch_requests', 'codesearch_usage_metrics'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', subject);
        EXECUTE format(
            'CREATE POLICY %I ON %I'
            ' USING (repository_id IN (SELECT id FROM codesearch_repositories))',
            subject || '_tenant_isolation', subject
        );
    END LOOP;
END
$$;
CREATE VIEW v_code_search_repositories AS
    SELECT id, tenant_id, name, status, sync_strategy, current_branch FROM codesearch_repositories;
CREATE VIEW v_code_search_identities AS
    SELECT id, tenant_id, name, provider FROM codesearch_identities;
