-- Migrations 010 and 011: approvals, escalation, meta governance. Their notify functions are shared
-- by tables of different shape and read fields that the other one has: inserts into
-- approval_requests and human_confirmation_requests raise 'record "new" has no field ...', and an
-- approving decision does so when it counts itself. The platform ships them so.
CREATE UNIQUE INDEX idx_governance_configs_org ON governance_configs (org_id)
    WHERE org_id IS NOT NULL;
CREATE UNIQUE INDEX idx_governance_configs_team ON governance_configs (team_id)
    WHERE team_id IS NOT NULL;
CREATE UNIQUE INDEX idx_governance_configs_project ON governance_configs (project_id)
    WHERE project_id IS NOT NULL;
CREATE TABLE escalation_queue (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    request_id uuid NOT NULL REFERENCES approval_requests ON DELETE CASCADE,
    level integer NOT NULL DEFAULT 1,
    escalated_to jsonb NOT NULL,
    notified_at timestamptz NOT NULL DEFAULT now(),
    responded_at timestamptz,
    response text,
    UNIQUE (request_id, level)
);
CREATE TABLE meta_governance_policies (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    layer text NOT NULL,
    scope_id uuid,
    min_role_for_governance text NOT NULL,
    action_permissions jsonb NOT NULL DEFAULT '[]',
    agent_delegation jsonb NOT NULL,
    escalation_config jsonb NOT NULL,
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid NOT NULL,
    CONSTRAINT valid_layer CHECK (layer IN ('company', 'org', 'team', 'project')),
    CONSTRAINT valid_min_role CHECK (
        min_role_for_governance IN ('viewer', 'developer', 'techlead', 'architect', 'admin')
    )
);
CREATE UNIQUE INDEX idx_meta_governance_layer_scope ON meta_governance_policies (layer, scope_id)
    WHERE scope_id IS NOT NULL;
CREATE UNIQUE INDEX idx_meta_governance_layer_default ON meta_governance_policies (layer)
    WHERE scope_id IS NULL AND active;
CREATE TABLE human_confirmation_requests (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_id uuid NOT NULL,
    action text NOT NULL,
    action_description text NOT NULL,
    target_type text NOT NULL,
    target_id text,
    risk_level text NOT NULL DEFAULT 'medium',
    confirmation_reason text NOT NULL,
    agent_context jsonb NOT NULL DEFAULT '{}',
    authorized_approvers jsonb NOT NULL DEFAULT '[]',
    status text NOT NULL DEFAULT 'pending',
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    resolved_by uuid,
    resolution_comment text,
    CONSTRAINT valid_status CHECK (
        status IN ('pending', 'approved', 'denied', 'expired', 'cancelled')
    ),
    CONSTRAINT valid_risk_level CHECK (risk_level IN ('low', 'medium', 'high', 'critical'))
);

CREATE FUNCTION set_request_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.request_number IS NULL THEN
        NEW.request_number := 'REQ-' || nextval('approval_requests_number_seq')::text;
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION check_auto_approve() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'pending' AND NEW.current_approvals >= NEW.required_approvals THEN
        NEW.status := 'approved';
        NEW.resolved_at := now();
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION update_approval_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.decision = 'approve' THEN
        UPDATE approval_requests
           SET current_approvals = current_approvals + 1, updated_at = now()
         WHERE id = NEW.request_id;
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION notify_governance_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('governance_changes', json_build_object(
        'table', TG_TABLE_NAME,
        'operation', TG_OP,
        'id', NEW.id::text,
        'request_id', CASE TG_TABLE_NAME
            WHEN 'approval_decisions' THEN NEW.request_id::text ELSE NEW.id::text
        END
    )::text);
    RETURN NEW;
END
$$;
CREATE FUNCTION notify_meta_governance_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('meta_governance_changes', json_build_object(
        'table', TG_TABLE_NAME,
        'operation', TG_OP,
        'id', coalesce(NEW.id, OLD.id)::text,
        'layer', CASE TG_TABLE_NAME WHEN 'meta_governance_policies' THEN NEW.layer END
    )::text);
    RETURN coalesce(NEW, OLD);
END
$$;
CREATE TRIGGER trigger_set_request_number BEFORE INSERT ON approval_requests
    FOR EACH ROW EXECUTE FUNCTION set_request_number();
CREATE TRIGGER trigger_check_auto_approve BEFORE UPDATE ON approval_requests
    FOR EACH ROW WHEN (OLD.current_approvals <> NEW.current_approvals)
    EXECUTE FUNCTION check_auto_approve();
CREATE TRIGGER notify_approval_requests AFTER INSERT OR UPDATE ON approval_requests
    FOR EACH ROW EXECUTE FUNCTION notify_governance_change();
CREATE TRIGGER trigger_update_approval_count AFTER INSERT ON approval_decisions
    FOR EACH ROW EXECUTE FUNCTION update_approval_count();
CREATE TRIGGER notify_approval_decisions AFTER INSERT ON approval_decisions
    FOR EACH ROW EXECUTE FUNCTION notify_governance_change();
CREATE TRIGGER notify_meta_governance_policies
    AFTER INSERT OR UPDATE OR DELETE ON meta_governance_policies
    FOR EACH ROW EXECUTE FUNCTION notify_meta_governance_change();
CREATE TRIGGER notify_human_confirmation_requests
    AFTER INSERT OR UPDATE ON human_confirmation_requests
    FOR EACH ROW EXECUTE FUNCTION notify_meta_governance_change();

-- Migration 016's policy, which the server's start does not replace: nothing sets app.company_id.
CREATE FUNCTION current_app_company_id() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('app.company_id', true), '')::uuid
$$;
ALTER TABLE escalation_queue ENABLE ROW LEVEL SECURITY;
ALTER TABLE escalation_queue FORCE ROW LEVEL SECURITY;
CREATE POLICY escalation_queue_company_isolation ON escalation_queue
    USING (request_id IN (
        SELECT id FROM approval_requests WHERE company_id = current_app_company_id()
    ));

CREATE VIEW v_pending_requests AS
    SELECT r.id, r.request_number, r.title, coalesce(r.requestor_email, u.email) AS requestor_email
      FROM approval_requests r
      LEFT JOIN users u ON r.requestor_type = 'user' AND r.requestor_id = u.id
     WHERE r.status = 'pending';
