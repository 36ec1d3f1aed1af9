"""Triggers that keep history as it is, in the words of either database.

The one exception: a row of the books may go once a signed summary, a fold, stands for it.
"""

from rushes.domain.task import FINAL_STATUSES

APPEND_ONLY_TABLES = ("ledger_entries", "task_resolutions", "batch_events")

FOLD_TABLES = ("folds", "folded_batches")
"""Never changed and never deleted, whatever else is folded."""

KEPT_TABLES = (*FOLD_TABLES, "action_log")

_FINAL = ", ".join(f"'{status}'" for status in sorted(FINAL_STATUSES))

_LEDGER_FOLDED = (
    "EXISTS (SELECT 1 FROM folds WHERE account_id = OLD.account_id AND ledger_through_seq >= OLD.seq)"
)
_BATCH_FOLDED = "EXISTS (SELECT 1 FROM folded_batches WHERE batch_id = OLD.batch_id)"

_MAY_GO = {
    "ledger_entries": ("rushes_keep_unless_ledger_folded", _LEDGER_FOLDED),
    "task_resolutions": ("rushes_keep_unless_batch_folded", _BATCH_FOLDED),
    "batch_events": ("rushes_keep_unless_batch_folded", _BATCH_FOLDED),
}


def sqlite_triggers() -> list[str]:
    """Triggers that refuse to rewrite history, in SQLite's words."""
    statements = []
    for table in (*APPEND_ONLY_TABLES, *KEPT_TABLES):
        refuse = f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        when = f" WHEN NOT {_MAY_GO[table][1]}" if table in _MAY_GO else ""
        statements.append(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}{refuse}")
        statements.append(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}{when}{refuse}")
    statements.append(
        "CREATE TRIGGER video_tasks_final BEFORE UPDATE OF status ON video_tasks"
        f" WHEN OLD.status IN ({_FINAL}) AND NEW.status <> OLD.status"
        " BEGIN SELECT RAISE(ABORT, 'a final status never changes'); END"
    )
    return statements


def postgresql_triggers() -> list[str]:
    """Triggers that refuse to rewrite history, in PostgreSQL's words."""
    statements = [
        "CREATE FUNCTION rushes_append_only() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$",
        "CREATE FUNCTION rushes_final_status() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION 'a final status never changes'; END $$",
    ]
    statements += [
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$"
        f" BEGIN IF NOT {is_folded} THEN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END IF;"
        " RETURN OLD; END $$"
        for function, is_folded in dict(_MAY_GO.values()).items()
    ]
    for table in APPEND_ONLY_TABLES:
        statements.append(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION rushes_append_only()"
        )
        statements.append(
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {_MAY_GO[table][0]}()"
        )
    statements += [
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION rushes_append_only()"
        for table in KEPT_TABLES
    ]
    statements.append(
        "CREATE TRIGGER video_tasks_final BEFORE UPDATE OF status ON video_tasks FOR EACH ROW"
        f" WHEN (OLD.status IN ({_FINAL}) AND NEW.status <> OLD.status)"
        " EXECUTE FUNCTION rushes_final_status()"
    )
    return statements
