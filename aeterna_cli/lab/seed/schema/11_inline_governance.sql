-- The governance tables as the server makes them: scope uuids without foreign keys, no unique
-- request number; at every start it forces row security and compares a company's id with the
-- tenant's. The bare cast is the platform's: '' and slugs make every query fail.
CREATE TABLE governance_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_id varchar(255) NOT NULL,
    idempotency_key varchar(255) NOT NULL UNIQUE,
    tenant_id varchar(255) NOT NULL,
    event_type varchar(100) NOT NULL,
    payload jsonb NOT NULL,
    status varchar(50) NOT NULL DEFAULT 'pending',
    retry_count integer NOT NULL DEFAULT 0,
    max_retries integer NOT NULL DEFAULT 3,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    acknowledged_at timestamptz,
    dead_lettered_at timestamptz
);
CREATE INDEX idx_governance_events_tenant_id ON governance_events (tenant_id);
CREATE TABLE governance_configs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id uuid,
    org_id uuid,
    team_id uuid,
    project_id uuid,
    approval_mode text NOT NULL DEFAULT 'standard',
    min_approvers integer NOT NULL DEFAULT 1,
    timeout_hours integer DEFAULT 72,
    auto_approve_low_risk boolean NOT NULL DEFAULT false,
    escalation_enabled boolean NOT NULL DEFAULT false,
    escalation_timeout_hours integer,
    escalation_contact text,
    policy_settings jsonb DEFAULT '{}',
    knowledge_settings jsonb DEFAULT '{}',
    memory_settings jsonb DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX idx_governance_configs_scope ON governance_configs (
    coalesce(company_id, '00000000-0000-0000-0000-000000000000'::uuid),
    coalesce(org_id, '00000000-0000-0000-0000-000000000000'::uuid),
    coalesce(team_id, '00000000-0000-0000-0000-000000000000'::uuid),
    coalesce(project_id, '00000000-0000-0000-0000-000000000000'::uuid)
);
CREATE UNIQUE INDEX idx_governance_configs_company ON governance_configs (company_id)
    WHERE company_id IS NOT NULL;
CREATE SEQUENCE approval_requests_number_seq;
CREATE TABLE approval_requests (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    request_number text NOT NULL
        DEFAULT 'REQ-' || nextval('approval_requests_number_seq')::text,
    request_type text NOT NULL,
    target_type text NOT NULL,
    target_id text,
    company_id uuid,
    org_id uuid,
    team_id uuid,
    project_id uuid,
    title text NOT NULL,
    description text,
    payload jsonb NOT NULL DEFAULT '{}',
    risk_level text NOT NULL DEFAULT 'medium',
    status text NOT NULL DEFAULT 'pending',
    requestor_type text NOT NULL,
    requestor_id uuid NOT NULL,
    requestor_email text,
    required_approvals integer NOT NULL DEFAULT 1,
    current_approvals integer NOT NULL DEFAULT 0,
    expires_at timestamptz,
    resolved_at timestamptz,
    resolution_reason text,
    applied_at timestamptz,
    applied_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE approval_decisions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    request_id uuid NOT NULL REFERENCES approval_requests ON DELETE CASCADE,
    approver_type text NOT NULL,
    approver_id uuid NOT NULL,
    approver_email text,
    decision text NOT NULL,
    comment text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_approval_decisions_request ON approval_decisions (request_id);
CREATE TABLE governance_roles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    principal_type text NOT NULL,
    principal_id uuid NOT NULL,
    role text NOT NULL,
    company_id uuid,
    org_id uuid,
    team_id uuid,
    project_id uuid,
    granted_by uuid NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by uuid
);
CREATE UNIQUE INDEX idx_governance_roles_unique ON governance_roles (
    principal_type,
    principal_id,
    role,
    coalesce(company_id, '00000000-0000-0000-0000-000000000000'::uuid),
    coalesce(org_id, '00000000-0000-0000-0000-000000000000'::uuid),
    coalesce(team_id, '00000000-0000-0000-0000-000000000000'::uuid),
    coalesce(project_id, '00000000-0000-0000-0000-000000000000'::uuid)
);
CREATE TABLE governance_audit_log (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    action text NOT NULL,
    request_id uuid,
    target_type text,
    target_id text,
    actor_type text NOT NULL,
    actor_id uuid,
    actor_email text,
    details jsonb DEFAULT '{}',
    old_values jsonb,
    new_values jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_governance_audit_log_actor ON governance_audit_log (actor_id);

ALTER TABLE governance_configs ENABLE ROW LEVEL SECURITY;
ALTER TABLE governance_configs FORCE ROW LEVEL SECURITY;
CREATE POLICY governance_configs_tenant_isolation ON governance_configs
    USING (company_id = current_setting('app.tenant_id', true)::uuid);
ALTER TABLE governance_roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE governance_roles FORCE ROW LEVEL SECURITY;
CREATE POLICY governance_roles_tenant_isolation ON governance_roles
    USING (company_id = current_setting('app.tenant_id', true)::uuid);
ALTER TABLE approval_requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE approval_requests FORCE ROW LEVEL SECURITY;
CREATE POLICY approval_requests_tenant_isolation ON approval_requests
    USING (company_id = current_setting('app.tenant_id', true)::uuid);
ALTER TABLE approval_decisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE approval_decisions FORCE ROW LEVEL SECURITY;
CREATE POLICY approval_decisions_tenant_isolation ON approval_decisions
    USING (request_id IN (
        SELECT id FROM approval_requests
         WHERE company_id = current_setting('app.tenant_id', true)::uuid
    ));
