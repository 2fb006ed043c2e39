-- Migrations 009 and 013: what happens by itself to the seven referential tables.
CREATE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

-- Full copies of old and new rows: deleting a person writes the person down once more.
CREATE FUNCTION log_referential_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    verb text := CASE TG_OP WHEN 'INSERT' THEN 'create' ELSE lower(TG_OP) END;
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
BEGIN
    INSERT INTO referential_audit_log
        (entity_type, entity_id, action, old_values, new_values, actor_type, request_id)
    VALUES (TG_TABLE_NAME, coalesce(NEW.id, OLD.id), verb, before, after, 'system',
            current_setting('app.request_id', true));
    RETURN coalesce(NEW, OLD);
END
$$;

CREATE FUNCTION notify_referential_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('referential_changes', json_build_object(
        'table', TG_TABLE_NAME,
        'operation', TG_OP,
        'id', coalesce(NEW.id, OLD.id)::text,
        'timestamp', extract(epoch FROM now())
    )::text);
    RETURN coalesce(NEW, OLD);
END
$$;

CREATE FUNCTION cascade_soft_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'companies' THEN
        UPDATE organizations SET deleted_at = NEW.deleted_at
         WHERE company_id = NEW.id AND deleted_at IS NULL;
    ELSIF TG_TABLE_NAME = 'organizations' THEN
        UPDATE teams SET deleted_at = NEW.deleted_at
         WHERE org_id = NEW.id AND deleted_at IS NULL;
    ELSE
        UPDATE projects SET deleted_at = NEW.deleted_at
         WHERE team_id = NEW.id AND deleted_at IS NULL;
        UPDATE memberships SET status = 'inactive'
         WHERE team_id = NEW.id AND status = 'active';
    END IF;
    RETURN NEW;
END
$$;

DO $$
DECLARE
    subject text;
BEGIN
    FOREACH subject IN ARRAY ARRAY[
        'companies', 'organizations', 'teams', 'projects', 'users', 'agents', 'memberships',
        'git_remote_patterns', 'email_domain_patterns'
    ] LOOP
        EXECUTE format(
            'CREATE TRIGGER %I BEFORE UPDATE ON %I'
            ' FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()',
            'update_' || subject || '_updated_at', subject
        );
    END LOOP;
    FOREACH subject IN ARRAY ARRAY[
        'companies', 'organizations', 'teams', 'projects', 'users', 'agents', 'memberships'
    ] LOOP
        EXECUTE format(
            'CREATE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON %I'
            ' FOR EACH ROW EXECUTE FUNCTION log_referential_change()',
            'audit_' || subject, subject
        );
        EXECUTE format(
            'CREATE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON %I'
            ' FOR EACH ROW EXECUTE FUNCTION notify_referential_change()',
            'notify_' || subject, subject
        );
    END LOOP;
    FOREACH subject IN ARRAY ARRAY['companies', 'organizations', 'teams'] LOOP
        EXECUTE format(
            'CREATE TRIGGER %I AFTER UPDATE OF deleted_at ON %I FOR EACH ROW'
            ' WHEN (NEW.deleted_at IS NOT NULL AND OLD.deleted_at IS NULL)'
            ' EXECUTE FUNCTION cascade_soft_delete()',
            'cascade_soft_delete_' || subject, subject
        );
    END LOOP;
END
$$;

CREATE VIEW v_hierarchy AS
    SELECT c.id AS company_id, c.slug AS company_slug, o.id AS org_id, o.slug AS org_slug,
           t.id AS team_id, t.slug AS team_slug, p.id AS project_id, p.slug AS project_slug
      FROM companies c
      LEFT JOIN organizations o ON o.company_id = c.id AND o.deleted_at IS NULL
      LEFT JOIN teams t ON t.org_id = o.id AND t.deleted_at IS NULL
      LEFT JOIN projects p ON p.team_id = t.id AND p.deleted_at IS NULL
     WHERE c.deleted_at IS NULL;
CREATE VIEW v_user_permissions AS
    SELECT u.id AS user_id, u.email, u.name AS user_name, m.team_id, m.role, m.permissions
      FROM users u JOIN memberships m ON m.user_id = u.id AND m.status = 'active'
     WHERE u.deleted_at IS NULL AND u.status = 'active';
CREATE VIEW v_orphan_agents AS
    SELECT a.id, a.name, a.delegated_by_user_id
      FROM agents a LEFT JOIN users u ON u.id = a.delegated_by_user_id
     WHERE a.deleted_at IS NULL AND a.delegated_by_user_id IS NOT NULL
       AND (u.id IS NULL OR u.deleted_at IS NOT NULL);
