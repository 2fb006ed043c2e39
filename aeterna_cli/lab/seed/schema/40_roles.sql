-- Migration 025, as a superuser: two roles without passwords, and grants on what exists *now*. Its
-- default privileges count only for what the same role makes later, so the tables of 50, 60 and 61
-- stay closed to aeterna_admin.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'aeterna_app') THEN
        CREATE ROLE aeterna_app LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'aeterna_admin') THEN
        CREATE ROLE aeterna_admin LOGIN;
    END IF;
END
$$;
ALTER ROLE aeterna_app NOBYPASSRLS;
ALTER ROLE aeterna_admin BYPASSRLS;
GRANT USAGE ON SCHEMA public TO aeterna_app, aeterna_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    approval_decisions, approval_requests, codesearch_identities, codesearch_index_metadata,
    codesearch_repositories, codesearch_requests, codesearch_usage_metrics,
    decomposition_policy_state, decomposition_policy_weights, decomposition_trajectories,
    error_signatures, escalation_queue, event_consumer_state, event_delivery_metrics,
    governance_configs, governance_events, governance_roles, hindsight_notes, knowledge_items,
    memory_entries, resolutions, sync_state, tenants, users, user_roles, organizational_units,
    governance_audit_log, referential_audit_log
    TO aeterna_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO aeterna_admin;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO aeterna_app, aeterna_admin;
ALTER TABLE governance_audit_log ADD COLUMN admin_scope boolean NOT NULL DEFAULT false;
