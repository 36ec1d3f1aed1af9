"""The ledger over HTTP: filtered, paged, and adding up."""

from datetime import UTC, datetime, timedelta

from rushes.api.shapes import models
from tests.api.harness import RunningService, Tenant


def test_the_ledger_tells_a_batchs_whole_story(tenant: Tenant) -> None:
    batch_id = tenant.batch("a", "b")["batch_id"]
    tenant.finished(batch_id)
    page = tenant.get("/v1/credits/ledger", params={"batch_id": batch_id})
    models.LedgerPage.model_validate(page)
    assert [entry["type"] for entry in page["entries"]] == ["settle", "settle", "reserve"]
    assert [entry["delta"] for entry in page["entries"]] == [0, 0, -20]
    assert {entry["item_id"] for entry in page["entries"]} == {None, f"{batch_id}-0", f"{batch_id}-1"}
    whole = tenant.get("/v1/credits/ledger")
    assert sum(entry["delta"] for entry in whole["entries"]) == tenant.get("/v1/credits/balance")["available"]


def test_entries_are_filtered_and_paged(idle_tenant: Tenant) -> None:
    first = idle_tenant.batch("a")["batch_id"]
    idle_tenant.batch("b")
    idle_tenant.post(f"/v1/batches/{first}/cancel")
    by_type = idle_tenant.get("/v1/credits/ledger", params={"type": "refund"})
    assert [entry["batch_id"] for entry in by_type["entries"]] == [first]
    assert by_type["total"] == 1
    page = idle_tenant.get("/v1/credits/ledger", params={"limit": 2, "offset": 1})
    assert (page["total"], len(page["entries"])) == (4, 2)
    assert [entry["id"] for entry in page["entries"]] == [3, 2]


def test_entries_are_found_by_time(idle_tenant: Tenant) -> None:
    idle_tenant.batch("a")
    now = datetime.now(UTC)
    hour = timedelta(hours=1)

    def total(**bounds: str) -> int:
        found: int = idle_tenant.get("/v1/credits/ledger", params=bounds)["total"]
        return found

    assert total(**{"from": (now - hour).isoformat()}) == 2
    assert total(**{"from": (now + hour).isoformat()}) == 0
    assert total(to=(now - hour).isoformat()) == 0
    assert total(to=(now + hour).strftime("%Y-%m-%dT%H:%M:%S+02:00")) == 0
    assert (
        total(**{"from": (now - 48 * hour).date().isoformat(), "to": (now + 48 * hour).date().isoformat()})
        == 2
    )


def test_a_balance_shows_lots_with_their_expiry(idle_service: RunningService) -> None:
    from rushes.domain.credits import LotKind

    tenant = idle_service.tenant(credits=10)
    expires = datetime(2100, 1, 1, tzinfo=UTC)
    idle_service.ask(
        lambda rushes: rushes.grant(
            5,
            account=tenant.account,
            kind=LotKind.BONUS,
            expires_at_ms=int(expires.timestamp() * 1000),
        )
    )
    balance = tenant.get("/v1/credits/balance")
    models.Balance.model_validate(balance)
    assert (balance["available"], balance["further_lots"], balance["further_credits"]) == (15, 0, 0)
    assert {"kind": "bonus", "remaining": 5, "expires_at": "2100-01-01T00:00:00.000Z"} in balance["lots"]
