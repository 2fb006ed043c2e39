-- Migrations 009, 013, 021, 023: the newer hierarchy (UUID ids), persons, agents, their audit log.
CREATE TABLE companies (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug text NOT NULL UNIQUE,
    name text NOT NULL,
    settings jsonb NOT NULL DEFAULT '{}',
    governance_mode text NOT NULL DEFAULT 'standard',
    default_approval_required boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE TABLE organizations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
    slug text NOT NULL,
    name text NOT NULL,
    settings jsonb NOT NULL DEFAULT '{}',
    governance_mode text,
    approval_required boolean,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (company_id, slug)
);
CREATE TABLE teams (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    slug text NOT NULL,
    name text NOT NULL,
    settings jsonb NOT NULL DEFAULT '{}',
    governance_mode text,
    approval_required boolean,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (org_id, slug)
);
CREATE TABLE projects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id uuid NOT NULL REFERENCES teams ON DELETE CASCADE,
    slug text NOT NULL,
    name text NOT NULL,
    git_remote text,
    git_branch text DEFAULT 'main',
    settings jsonb NOT NULL DEFAULT '{}',
    governance_mode text,
    approval_required boolean,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (team_id, slug)
);
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text NOT NULL UNIQUE,
    name text,
    avatar_url text,
    idp_provider text,
    idp_subject text,
    status text NOT NULL DEFAULT 'active',
    last_login_at timestamptz,
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    first_name text,
    last_name text,
    display_name text,
    is_active boolean NOT NULL DEFAULT true,
    deactivated_at timestamptz,
    default_tenant_id uuid REFERENCES tenants ON DELETE SET NULL,
    UNIQUE (idp_provider, idp_subject)
);
-- Both delegators have two foreign keys: NO ACTION from 009, SET NULL from 013. The first one wins,
-- and after it the CHECK: a person with agents cannot be deleted.
CREATE TABLE agents (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    agent_type text NOT NULL,
    delegated_by_user_id uuid REFERENCES users,
    delegated_by_agent_id uuid REFERENCES agents,
    delegation_depth integer NOT NULL DEFAULT 1,
    max_delegation_depth integer NOT NULL DEFAULT 3,
    capabilities jsonb NOT NULL DEFAULT '[]',
    allowed_company_ids uuid[] DEFAULT '{}',
    allowed_org_ids uuid[] DEFAULT '{}',
    allowed_team_ids uuid[] DEFAULT '{}',
    allowed_project_ids uuid[] DEFAULT '{}',
    status text NOT NULL DEFAULT 'active',
    expires_at timestamptz,
    last_activity_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT agents_one_delegator CHECK (
        (delegated_by_user_id IS NULL) <> (delegated_by_agent_id IS NULL)
    ),
    CONSTRAINT fk_agents_delegated_by_user
        FOREIGN KEY (delegated_by_user_id) REFERENCES users ON DELETE SET NULL,
    CONSTRAINT fk_agents_delegated_by_agent
        FOREIGN KEY (delegated_by_agent_id) REFERENCES agents ON DELETE SET NULL
);
CREATE TABLE memberships (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    team_id uuid NOT NULL REFERENCES teams ON DELETE CASCADE,
    role text NOT NULL DEFAULT 'developer',
    permissions jsonb NOT NULL DEFAULT '[]',
    status text NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, team_id)
);
CREATE TABLE git_remote_patterns (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
    pattern text NOT NULL,
    org_slug text,
    team_slug text,
    priority integer NOT NULL DEFAULT 0,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE email_domain_patterns (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
    domain text NOT NULL UNIQUE,
    auto_create_user boolean NOT NULL DEFAULT false,
    default_org_id uuid REFERENCES organizations,
    default_team_id uuid REFERENCES teams,
    priority integer NOT NULL DEFAULT 0,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT fk_email_domain_default_org
        FOREIGN KEY (default_org_id) REFERENCES organizations ON DELETE SET NULL,
    CONSTRAINT fk_email_domain_default_team
        FOREIGN KEY (default_team_id) REFERENCES teams ON DELETE SET NULL
);
CREATE TABLE referential_audit_log (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    entity_type text NOT NULL,
    entity_id uuid NOT NULL,
    action text NOT NULL,
    old_values jsonb,
    new_values jsonb,
    changed_fields text[],
    actor_type text NOT NULL,
    actor_id uuid,
    actor_email text,
    ip_address inet,
    user_agent text,
    request_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    acting_as_tenant_id uuid REFERENCES tenants ON DELETE SET NULL
);
CREATE INDEX idx_audit_log_entity ON referential_audit_log (entity_type, entity_id);
ALTER TABLE governance_audit_log
    ADD COLUMN acting_as_tenant_id uuid REFERENCES tenants ON DELETE SET NULL;
