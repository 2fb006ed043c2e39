-- Tables that library code makes when it is first used: often absent, never granted to anybody.
CREATE TABLE gdpr_consents (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id text NOT NULL,
    user_id text NOT NULL,
    purpose text NOT NULL,
    granted boolean NOT NULL,
    granted_at timestamptz,
    revoked_at timestamptz,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, user_id, purpose)
);
CREATE TABLE gdpr_audit_logs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id text NOT NULL,
    user_id text NOT NULL,
    action text NOT NULL,
    resource_type text NOT NULL,
    resource_id text,
    ip_address text,
    user_agent text,
    created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE gdpr_consents ENABLE ROW LEVEL SECURITY;
ALTER TABLE gdpr_audit_logs ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation_gdpr_consents ON gdpr_consents
    USING (tenant_id = current_setting('app.tenant_id', true));
CREATE POLICY tenant_isolation_gdpr_audit ON gdpr_audit_logs
    USING (tenant_id = current_setting('app.tenant_id', true));
CREATE TABLE summarization_budgets (
    tenant_id text PRIMARY KEY,
    daily_token_limit bigint NOT NULL DEFAULT 1000000,
    hourly_token_limit bigint NOT NULL DEFAULT 100000,
    per_layer_limits jsonb NOT NULL DEFAULT '{}',
    warning_threshold_percent integer NOT NULL DEFAULT 80,
    critical_threshold_percent integer NOT NULL DEFAULT 90,
    exhausted_action text NOT NULL DEFAULT 'reject',
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE summarization_usage (
    tenant_id text NOT NULL,
    layer text NOT NULL,
    window_type text NOT NULL,
    tokens_used bigint NOT NULL DEFAULT 0,
    window_start bigint NOT NULL,
    PRIMARY KEY (tenant_id, layer, window_type)
);
CREATE TABLE rlm_policy_state (
    tenant_id text PRIMARY KEY,
    action_weights jsonb NOT NULL DEFAULT '{}',
    epsilon real NOT NULL DEFAULT 0.1,
    step_count bigint NOT NULL DEFAULT 0,
    updated_at bigint NOT NULL,
    created_at bigint NOT NULL DEFAULT extract(epoch FROM now())::bigint
);
