"""What a tenant asks of its account: credits, webhooks. `AsyncClient` is this and its batches."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

from rushes.client import answers
from rushes.client.http import Http
from rushes.client.wire import as_answer, endpoint_path, path_part
from rushes.domain.errors import InputError

PAGE_ITEMS: Final = 500
PAGE_BATCHES: Final = 100

T = TypeVar("T")


class AsyncAccount:
    """The account's part of `AsyncClient`, and how all of it asks."""

    def __init__(self, http: Http) -> None:
        self._http = http

    # --- credits ----------------------------------------------------------------------------------------

    async def balance(self) -> answers.Balance:
        """The account's credits."""
        return await self._get("/v1/credits/balance", answers.Balance)

    async def ledger(
        self,
        *,
        batch_id: str | None = None,
        type: str | None = None,
        from_time: str | None = None,
        to_time: str | None = None,
    ) -> AsyncIterator[answers.LedgerEntry]:
        """Ledger entries, newest first, fetched a page at a time; times are ISO 8601, `to_time` excluded."""
        query = {"batch_id": batch_id, "type": type, "from": from_time, "to": to_time}
        async for row in self._pages("/v1/credits/ledger", "entries", query):
            yield cast(answers.LedgerEntry, row)

    # --- keys and usage ---------------------------------------------------------------------------------

    async def keys(self) -> list[answers.Key]:
        """The account's keys, valid ones before revoked ones, without what would let anyone use them."""
        answer = await self._http.ask("GET", "/v1/keys", repeatable=True)
        return cast(list[answers.Key], answer["data"])

    async def create_key(
        self,
        *,
        name: str | None = None,
        scope: Literal["read", "submit", "admin"] | None = None,
        rate_limit_per_min: int | None = None,
        credits_per_day_max: int | None = None,
    ) -> answers.NewKey:
        """A new key of the account; `key` is seen this once."""
        wanted = {
            "name": name,
            "scope": scope,
            "rate_limit_per_min": rate_limit_per_min,
            "credits_per_day_max": credits_per_day_max,
        }
        document = {field: value for field, value in wanted.items() if value is not None}
        return await self._post("/v1/keys", answers.NewKey, document)

    async def revoke_key(self, key_id: int) -> None:
        """End a key permanently, within two seconds."""
        await self._http.ask("DELETE", f"/v1/keys/{path_part(key_id)}", repeatable=True)

    async def usage(
        self,
        *,
        by: Sequence[Literal["day", "model", "key"]] = ("day",),
        from_time: str | None = None,
        to_time: str | None = None,
    ) -> answers.Usage:
        """What the batches of a time came to, of the last 30 days by default."""
        query = {"by": ",".join(by), "from": from_time, "to": to_time}
        answer = await self._http.ask("GET", "/v1/usage", query=query, repeatable=True)
        return as_answer(answers.Usage, answer)

    async def account_events(self, *, after: int = 0) -> AsyncIterator[answers.AccountEvent]:
        """What happened over all batches after that position, in order, as far as it is known now."""
        while True:
            page = await self._http.ask("GET", "/v1/events", query={"after": after}, repeatable=True)
            for row in page["data"]:
                yield cast(answers.AccountEvent, row)
            if not page["has_more"]:
                return
            after = page["last_id"]

    # --- files that go into videos ------------------------------------------------------------------------

    async def upload(self, file: str | Path | bytes) -> answers.Upload:
        """Keep a picture, video or sound: its path, or its bytes. Any media input takes the `upload_id`.

        The same bytes again are the same upload. Raises `InputError` for a file that cannot be read.
        """
        content = file if isinstance(file, bytes) else await asyncio.to_thread(_content_of, Path(file))
        answer = await self._http.ask("POST", "/v1/uploads", repeatable=True, content=content)
        return cast(answers.Upload, answer)

    # --- webhooks ---------------------------------------------------------------------------------------

    async def webhook_secret(self) -> str:
        """The secret (`whsec_…`) that the account's webhooks are signed with."""
        answer = await self._http.ask("GET", "/v1/webhooks/secret", repeatable=True)
        return str(answer["secret"])

    async def endpoints(self) -> list[answers.Endpoint]:
        """The account's webhook endpoints, oldest first."""
        answer = await self._http.ask("GET", "/v1/webhooks/endpoints", repeatable=True)
        return cast(list[answers.Endpoint], answer["data"])

    async def create_endpoint(
        self, url: str, *, events: Sequence[str] | None = None, description: str | None = None
    ) -> answers.EndpointWithSecret:
        """A new endpoint for the events of all batches, or for those of them that `events` names."""
        document: dict[str, Any] = {"url": url}
        if events is not None:
            document["events"] = list(events)
        if description is not None:
            document["description"] = description
        return await self._post("/v1/webhooks/endpoints", answers.EndpointWithSecret, document)

    async def endpoint(self, endpoint_id: str) -> answers.EndpointWithSecret:
        """One endpoint, with its signing secret."""
        return await self._get(endpoint_path(endpoint_id), answers.EndpointWithSecret)

    async def change_endpoint(self, endpoint_id: str, **changes: Any) -> answers.EndpointWithSecret:
        """Change `url`, `events` (None: all), `description` or `enabled`; what is not named stays."""
        path = endpoint_path(endpoint_id)
        answer = await self._http.ask("PATCH", path, document=changes, repeatable=False)
        return as_answer(answers.EndpointWithSecret, answer)

    async def delete_endpoint(self, endpoint_id: str) -> None:
        """Send it nothing more; its deliveries stay listed."""
        await self._http.ask("DELETE", endpoint_path(endpoint_id), repeatable=False)

    async def rotate_endpoint(
        self, endpoint_id: str, *, overlap_seconds: int | None = None
    ) -> answers.EndpointWithSecret:
        """Replace its secret; the one before signs as well for a day, or for `overlap_seconds`."""
        path, query = f"{endpoint_path(endpoint_id)}/rotate", {"overlap_seconds": overlap_seconds}
        answer = await self._http.ask("POST", path, query=query, repeatable=False)
        return as_answer(answers.EndpointWithSecret, answer)

    async def send_test_event(self, endpoint_id: str) -> answers.EndpointTest:
        """Have one `webhook.test` posted to it now: what the receiver made of it."""
        return await self._post(f"{endpoint_path(endpoint_id)}/test", answers.EndpointTest)

    async def replay_endpoint(self, endpoint_id: str, *, since: str | None = None) -> int:
        """Send again what it did not take, of all 30 days or since an ISO 8601 time; returns how many."""
        document = {} if since is None else {"since": since}
        path = f"{endpoint_path(endpoint_id)}/replay"
        answer = await self._http.ask("POST", path, document=document, repeatable=False)
        return int(answer["replayed"])

    async def deliveries(
        self,
        *,
        status: str | None = None,
        batch_id: str | None = None,
        event: str | None = None,
        endpoint_id: str | None = None,
    ) -> AsyncIterator[answers.Delivery]:
        """Webhook deliveries, newest first, fetched a page at a time."""
        query = {"status": status, "batch_id": batch_id, "event": event, "endpoint_id": endpoint_id}
        async for row in self._cursor("/v1/webhooks/deliveries", "delivery_id", query):
            yield cast(answers.Delivery, row)

    async def replay_delivery(self, delivery_id: str) -> answers.Delivery:
        """Send a delivery again, from the start of the ladder and with the same `webhook-id`."""
        path = f"/v1/webhooks/deliveries/{path_part(delivery_id)}/replay"
        answer = await self._http.ask("POST", path, repeatable=False)
        return cast(answers.Delivery, answer["delivery"])

    # --- requests ---------------------------------------------------------------------------------------

    async def _get(self, path: str, kind: type[T]) -> T:
        return as_answer(kind, await self._http.ask("GET", path, repeatable=True))

    async def _post(
        self, path: str, kind: type[T], document: Mapping[str, Any] | None = None, *, repeatable: bool = False
    ) -> T:
        return as_answer(kind, await self._http.ask("POST", path, document=document, repeatable=repeatable))

    async def _cursor(
        self, path: str, id_name: str, query: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        after: str | None = None
        while True:
            page = await self._http.ask(
                "GET", path, query={**query, "limit": PAGE_BATCHES, "after": after}, repeatable=True
            )
            for row in page["data"]:
                yield row
            if not page["has_more"] or not page["data"]:
                return
            after = page["data"][-1][id_name]

    async def _pages(
        self, path: str, list_name: str, query: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        offset = 0
        while True:
            page = await self._http.ask(
                "GET", path, query={**query, "limit": PAGE_ITEMS, "offset": offset}, repeatable=True
            )
            for row in page[list_name]:
                yield row
            offset += len(page[list_name])
            if not page[list_name] or offset >= page["total"]:
                return


def _content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", source=str(path)) from None
