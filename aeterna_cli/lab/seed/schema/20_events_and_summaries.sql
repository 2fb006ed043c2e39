-- Migrations 003 to 008: row security on the tables above, drift suppressions, event delivery,
-- summaries.
CREATE TABLE drift_suppressions (
    id text PRIMARY KEY,
    project_id text NOT NULL,
    tenant_id text NOT NULL,
    policy_id text NOT NULL,
    rule_pattern text,
    reason text NOT NULL,
    created_by text NOT NULL,
    expires_at bigint,
    created_at bigint NOT NULL
);
CREATE INDEX idx_drift_suppressions_project ON drift_suppressions (tenant_id, project_id);
CREATE TABLE event_delivery_metrics (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id varchar(255) NOT NULL,
    event_type varchar(100) NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    total_events bigint NOT NULL DEFAULT 0,
    delivered_events bigint NOT NULL DEFAULT 0,
    retried_events bigint NOT NULL DEFAULT 0,
    dead_lettered_events bigint NOT NULL DEFAULT 0,
    avg_delivery_time_ms double precision,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE event_consumer_state (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    consumer_group varchar(255) NOT NULL,
    idempotency_key varchar(255) NOT NULL,
    tenant_id varchar(255) NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (consumer_group, idempotency_key)
);
ALTER TABLE memory_entries
    ADD COLUMN summaries jsonb DEFAULT '{}',
    ADD COLUMN summary_updated_at bigint;
ALTER TABLE knowledge_items ADD COLUMN summaries jsonb DEFAULT '{}';
CREATE TABLE layer_summary_cache (
    id text PRIMARY KEY,
    tenant_id text NOT NULL,
    memory_layer text NOT NULL,
    entry_id text NOT NULL REFERENCES memory_entries ON DELETE CASCADE,
    depth text NOT NULL,
    content text NOT NULL,
    token_count integer NOT NULL,
    source_hash text NOT NULL,
    personalized boolean DEFAULT false,
    personalization_context text,
    generated_at bigint NOT NULL,
    expires_at bigint,
    UNIQUE (tenant_id, entry_id, depth)
);
CREATE VIEW dead_letter_events AS
    SELECT id, event_id, tenant_id, event_type, payload, last_error, dead_lettered_at
      FROM governance_events WHERE status = 'dead_lettered';

DO $$
DECLARE
    subject text;
BEGIN
    FOREACH subject IN ARRAY ARRAY[
        'sync_state', 'memory_entries', 'knowledge_items', 'error_signatures', 'resolutions',
        'hindsight_notes', 'governance_events', 'event_delivery_metrics', 'event_consumer_state'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', subject);
        EXECUTE format(
            'CREATE POLICY %I ON %I USING (tenant_id = current_setting(''app.tenant_id'', true))',
            subject || '_tenant_isolation', subject
        );
    END LOOP;
END
$$;
