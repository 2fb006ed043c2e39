"""Jobs, drift, quotas, budgets, code search, consent: a few rows each."""

from collections.abc import Iterator, Sequence

from aeterna_cli.lab.seed.load import Rows
from aeterna_cli.lab.seed.tables.world import Row, World, counted, each, moment

BUCKET = "aeterna-codesearch"


def rows(everyone: Sequence[World]) -> Iterator[Rows]:
    yield from _jobs(everyone)
    yield from _failures(everyone)
    yield _graph_events(everyone)
    yield from _drift(everyone)
    yield from _learning(everyone)
    yield from _budgets(everyone)
    yield from _codesearch(everyone)
    yield _repositories(everyone)
    yield from _searched(everyone)
    yield _cleaned(everyone)
    yield from _consent(everyone)
    yield _accesses(everyone)


def _jobs(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "sync_state",
        "id tenant_id data updated_at",
        ([("cursor", w.key, {"user": w.person(0).email, "at": 7}, moment(3))] for w in everyone),
    )
    yield each(
        "job_status",
        "id job_name tenant_id status message started_at finished_at duration_ms",
        (
            [
                (w.id("job", n), "nightly", w.key, "completed", None, moment(n), moment(n), 1200)
                for n in range(w.several)
            ]
            for w in everyone
        ),
    )


def _failures(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "dead_letter_items",
        "id item_type item_id tenant_id error first_failed_at last_failed_at metadata",
        (
            [
                (
                    str(w.id("dead")),
                    "sync_entry",
                    "entry-1",
                    w.key,
                    "timeout",
                    moment(3),
                    moment(4),
                    {"user": w.person(1).email},
                )
            ]
            for w in everyone
        ),
    )
    yield Rows(
        "remediation_requests",
        "id request_type risk_tier entity_type entity_ids tenant_id description proposed_action"
        " detected_by created_at reviewed_by",
        [_remediation("everywhere", None, None), *(_remediation_of(world) for world in everyone)],
    )


def _graph_events(everyone: Sequence[World]) -> Rows:
    return Rows(
        "graph_events",
        "id tenant_id seq kind payload created_at",
        counted(
            [
                (
                    w.key,
                    n + 1,
                    "node_added",
                    {"id": f"node-{n}", "by": w.person(n).email},
                    moment(n),
                )
                for n in range(w.several)
            ]
            for w in everyone
        ),
    )


def _remediation_of(world: World) -> Row:
    return _remediation(str(world.id("remediation")), world.key, str(world.person(0).id))


def _remediation(key: str, tenant: str | None, person: str | None) -> Row:
    start = (key, "stale_memories", "notify_and_execute", "memory", ["m-1"], tenant)
    return (*start, "found 1", "delete", "lifecycle", moment(5), person)


def _drift(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "drift_results",
        "project_id tenant_id drift_score violations timestamp",
        (
            [(w.unit_project, w.key, 0.2, [{"rule": "r-1"}], moment(n)) for n in range(w.several)]
            for w in everyone
        ),
    )
    yield each(
        "drift_configs",
        "project_id tenant_id updated_at",
        ([(w.unit_project, w.key, moment(2))] for w in everyone),
    )
    yield each(
        "drift_suppressions",
        "id project_id tenant_id policy_id reason created_by created_at",
        (
            [
                (
                    str(w.id("suppression")),
                    w.unit_project,
                    w.key,
                    "policy-1",
                    "known",
                    str(w.person(0).id),
                    moment(2),
                )
            ]
            for w in everyone
        ),
    )


def _learning(everyone: Sequence[World]) -> Iterator[Rows]:
    """These refer to a unit whose id is the tenant's own name."""
    when = (moment(2), moment(3))
    yield each(
        "decomposition_policy_weights",
        "id tenant_id action_type weight created_at updated_at",
        (
            [(str(w.id("weight", kind)), w.key, kind, 0.5, *when) for kind in ("split", "merge")]
            for w in everyone
        ),
    )
    yield each(
        "decomposition_policy_state",
        "id tenant_id step_count created_at updated_at",
        ([(str(w.id("state")), w.key, 10, *when)] for w in everyone),
    )
    yield each(
        "decomposition_trajectories",
        "id tenant_id query started_at completed_at outcome reward actions created_at",
        (
            [
                (
                    str(w.id("trajectory")),
                    w.key,
                    f"what does {w.person(1).name} prefer",
                    *when,
                    {"found": 2},
                    0.5,
                    [{"kind": "split"}],
                    moment(2),
                )
            ]
            for w in everyone
        ),
    )
    yield each(
        "rlm_policy_state",
        "tenant_id action_weights step_count updated_at created_at",
        ([(w.key, {"split": 0.5}, 10, *when)] for w in everyone),
    )


def _budgets(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "tenant_storage_quotas",
        "tenant_id memory_max total_max updated_at",
        ([(w.key, 100_000, None, moment(2))] for w in everyone),
    )
    yield each(
        "summarization_budgets",
        "tenant_id per_layer_limits created_at updated_at",
        ([(w.key, {"user": 1000}, moment(2), moment(2))] for w in everyone),
    )
    yield each(
        "summarization_usage",
        "tenant_id layer window_type tokens_used window_start",
        (
            [(w.key, "user", window, 500, moment(2)) for window in ("daily", "hourly")]
            for w in everyone
        ),
    )


def _codesearch(everyone: Sequence[World]) -> Iterator[Rows]:
    yield Rows(
        "codesearch_indexer_shards",
        "shard_id pod_name pod_ip last_heartbeat registered_at",
        [(f"shard-{n}", f"indexer-{n}", f"10.0.0.{n + 1}", moment(9), moment()) for n in range(2)],
    )
    yield each(
        "codesearch_identities",
        "id tenant_id name provider auth_type secret_id secret_provider created_at updated_at",
        (
            [
                (
                    w.id("identity"),
                    w.key,
                    "bot",
                    "github",
                    "pat",
                    str(w.id("secret", "git_token")),
                    "vault",
                    moment(1),
                    moment(1),
                )
            ]
            for w in everyone
        ),
    )


def _repositories(everyone: Sequence[World]) -> Rows:
    return each(
        "codesearch_repositories",
        "id tenant_id identity_id name type remote_url status owner_id shard_id cold_storage_uri"
        " config created_at updated_at",
        (
            [
                (
                    w.repository(n),
                    w.key,
                    w.id("identity") if n == 0 else None,
                    f"repository-{n}",
                    "remote",
                    f"https://git.{w.host}.example/{n}.git",
                    "ready",
                    str(w.person(0).id),
                    f"shard-{n}",
                    f"s3://{BUCKET}/{w.key}/{w.repository(n)}.bundle",
                    {},
                    moment(1),
                    moment(1),
                )
                for n in range(2)
            ]
            for w in everyone
        ),
    )


def _searched(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "codesearch_index_metadata",
        "id repository_id commit_sha files_indexed indexed_at",
        ([(w.id("index"), w.repository(0), w.id("commit").hex, 12, moment(2))] for w in everyone),
    )
    yield each(
        "codesearch_requests",
        "id repository_id requester_id status policy_result created_at updated_at",
        (
            [
                (
                    w.id("search"),
                    w.repository(0),
                    str(w.person(1).id),
                    "approved",
                    {"by": "policy"},
                    moment(2),
                    moment(3),
                )
            ]
            for w in everyone
        ),
    )
    yield each(
        "codesearch_usage_metrics",
        "id repository_id branch search_count last_active_at period_start",
        ([(w.id("usage"), w.repository(0), "main", 4, moment(3), moment())] for w in everyone),
    )


def _cleaned(everyone: Sequence[World]) -> Rows:
    return each(
        "codesearch_cleanup_logs",
        "id repository_id repository_name reason action_taken performed_by executed_at",
        (
            [
                (
                    w.id("cleanup"),
                    w.repository(1),
                    "repository-1",
                    "unused",
                    "archived",
                    str(w.person(0).id),
                    moment(5),
                )
            ]
            for w in everyone
        ),
    )


def _consent(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "gdpr_consents",
        "id tenant_id user_id purpose granted granted_at revoked_at created_at",
        (
            [
                (
                    w.id("consent", n),
                    w.key,
                    str(w.person(0).id),
                    purpose,
                    revoked is None,
                    moment(1),
                    revoked,
                    moment(1),
                )
                for n, (purpose, revoked) in enumerate((("memory", None), ("ads", moment(40))))
            ]
            for w in everyone
        ),
    )


def _accesses(everyone: Sequence[World]) -> Rows:
    return each(
        "gdpr_audit_logs",
        "id tenant_id user_id action resource_type resource_id ip_address user_agent created_at",
        (
            [
                (
                    w.id("access"),
                    w.key,
                    str(w.person(0).id),
                    "export",
                    "user_data",
                    None,
                    f"198.51.100.{w.place % 250 + 1}",
                    "Mozilla/5.0",
                    moment(41),
                )
            ]
            for w in everyone
        ),
    )
