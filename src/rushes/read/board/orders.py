"""What a batch was made of, to make another one like it; and what is known of models when one chooses."""

from typing import Any

import msgspec
from sqlalchemy import Connection

from rushes.domain.input.prompts import BATCH_ITEMS_MAX
from rushes.read.acceptance.pass_rates import pass_rates
from rushes.read.forecasts import Forecaster
from rushes.read.scope import OPERATOR
from rushes.store.database import statement

PASS_RATE_DAYS = 30


def order_of(
    connection: Connection, public_id: str, *, only_failed: bool
) -> tuple[str, list[dict[str, Any]]]:
    """The account of a batch, and its items as their author could write them again. Raises `NotFound`.

    Erased items are left out: their prompts are gone.
    """
    rows = connection.execute(
        statement(
            "SELECT t.prompt, t.model, t.alias, t.options, t.custom_id, t.metadata, a.name AS account"
            " FROM video_tasks t JOIN accounts a ON a.id = t.account_id WHERE t.batch_id = :batch_id"
            " AND t.is_current = 1 AND t.erased_at_ms IS NULL AND (:only_failed = 0 OR t.status = 'failed')"
            " ORDER BY t.item_index LIMIT :limit"
        ),
        {
            "batch_id": OPERATOR.batch_id(connection, public_id),
            "only_failed": int(only_failed),
            "limit": BATCH_ITEMS_MAX,
        },
    ).all()
    items = []
    for row in rows:
        item = {"prompt": row.prompt, "model": row.alias or row.model, **msgspec.json.decode(row.options)}
        if row.custom_id is not None:
            item["custom_id"] = row.custom_id
        if row.metadata is not None:
            item["metadata"] = msgspec.json.decode(row.metadata)
        items.append(item)
    return (rows[0].account if rows else ""), items


def model_facts(
    connection: Connection, models: list[str], *, forecaster: Forecaster, now_ms: int
) -> dict[str, dict[str, float | None]]:
    """`pass_rate` of the last `PASS_RATE_DAYS` and `render_seconds` of each model."""
    rates = pass_rates(connection, OPERATOR, days=PASS_RATE_DAYS, now_ms=now_ms, prompts_max=0)
    by_model = {one["model"]: one["pass_rate"] for one in rates["models"]}
    return {
        name: {
            "pass_rate": by_model.get(name),
            "render_seconds": forecaster.render_time(connection, name, now_ms).median_seconds,
        }
        for name in models
    }
