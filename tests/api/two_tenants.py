"""Two tenants who call the service in any order, and a model of what each of them must find.

Every answer is held against the OpenAPI document, and against the model: nobody finds anything of the other,
a repeated request makes nothing new, lists have what was made, the event log has no gap.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx2
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.api.harness import RunningService, Tenant

DOCUMENT = "urn:openapi"
CREDITS = 1_000_000

WHO = st.sampled_from((0, 1))
PICK = st.integers(0, 1000)
TEAMS = st.sampled_from((None, "north", "south"))


class Answers:
    """What the OpenAPI document says of each answer."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._paths: Mapping[str, Any] = document["paths"]
        self._patterns = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), path) for path in self._paths
        ]
        resource = Resource.from_contents(document, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(DOCUMENT, resource)
        self._validators: dict[str, Draft202012Validator] = {}
        self.count = 0

    def check(self, method: str, path: str, answer: httpx2.Response) -> None:
        """Raise `AssertionError` for an answer that the document does not have."""
        found = [known for pattern, known in self._patterns if pattern.fullmatch(path.partition("?")[0])]
        plain = [known for known in found if "{" not in known] or found
        assert plain, path
        described = self._paths[plain[0]][method.lower()]["responses"]
        status = str(answer.status_code)
        assert status in described, (method, path, status, answer.text)
        kind = answer.headers.get("content-type", "").partition(";")[0]
        content = described[status].get("content", {})
        assert kind in content or not content, (method, path, status, kind)
        if kind in ("application/json", "application/problem+json"):
            where = (plain[0], method.lower(), "responses", status, "content", kind, "schema")
            self._validator("/".join(part.replace("~", "~0").replace("/", "~1") for part in where)).validate(
                answer.json()
            )
        self.count += 1

    def _validator(self, where: str) -> Draft202012Validator:
        if where not in self._validators:
            schema = {"$ref": f"{DOCUMENT}#/paths/{where}"}
            self._validators[where] = Draft202012Validator(schema, registry=self._registry)
        return self._validators[where]


@dataclass
class Known:
    """What a tenant has made, in the order of its making."""

    batches: dict[str, str | None] = field(default_factory=dict)
    requests: dict[str, tuple[str, Any]] = field(default_factory=dict)
    endpoints: list[str] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    log_position: int = 0

    def one(self, pick: int) -> str | None:
        """One of its batches."""
        ids = list(self.batches)
        return ids[pick % len(ids)] if ids else None


class TwoTenants(RuleBasedStateMachine):
    """One sequence of calls."""

    service: ClassVar[RunningService]
    answers: ClassVar[Answers]

    def __init__(self) -> None:
        super().__init__()
        self.tenants = [self.service.tenant(credits=CREDITS) for _ in range(2)]
        self.known = [Known(), Known()]

    def ask(self, who: int, method: str, path: str, *expected: int, **arguments: Any) -> Any:
        """The answer's document, which has one of these statuses."""
        tenant: Tenant = self.tenants[who]
        answer = tenant.request(method, path, **arguments)
        self.answers.check(method, path, answer)
        assert answer.status_code in expected, (method, path, answer.text)
        kind = answer.headers.get("content-type", "")
        return answer.json() if "json" in kind and "ndjson" not in kind else answer.text

    # --- making -----------------------------------------------------------------------------------------

    @rule(who=WHO, count=st.integers(1, 3), team=TEAMS, request_id=st.sampled_from((None, "once", "twice")))
    def make_batch(self, who: int, count: int, team: str | None, request_id: str | None) -> None:
        """A new batch, or the one that the same request made."""
        known, body = self.known[who], {"items": [{"prompt": f"take {n}"} for n in range(count)]}
        document: dict[str, Any] = body | ({} if team is None else {"metadata": {"team": team}})
        if request_id is None:
            made = self.ask(who, "POST", "/v1/batches", 201, json=document)
        else:
            before = known.requests.get(request_id)
            status = 201 if before is None else 200 if before[1] == document else 422
            made = self.ask(who, "POST", "/v1/batches", status, json={**document, "request_id": request_id})
            if status == 200:
                assert before is not None
                assert (made["batch_id"], made["idempotent_replay"]) == (before[0], True)
            if status != 201:
                return
            known.requests[request_id] = made["batch_id"], document
        known.batches[made["batch_id"]] = team

    @rule(who=WHO)
    def make_video(self, who: int) -> None:
        """A video is a batch of one."""
        made = self.ask(who, "POST", "/v1/videos", 200, json={"prompt": "a boat"})
        self.known[who].batches[made["id"]] = None
        assert self.ask(who, "GET", f"/v1/videos/{made['id']}", 200)["id"] == made["id"]

    @rule(who=WHO, body=st.sampled_from(({}, {"items": []}, {"items": [{}]}, {"items": 7}, {"item": []})))
    def make_nonsense(self, who: int, body: Any) -> None:
        """What cannot be made is refused."""
        self.ask(who, "POST", "/v1/batches", 422, json=body)
        self.ask(who, "POST", "/v1/quotes", 422, json=body)

    # --- steering ---------------------------------------------------------------------------------------

    @rule(who=WHO, pick=PICK)
    def cancel(self, who: int, pick: int) -> None:
        """A finished one is not cancellable."""
        batch_id = self.known[who].one(pick)
        if batch_id is not None:
            self.ask(who, "POST", f"/v1/batches/{batch_id}/cancel", 200, 400)
            batch = self.ask(who, "GET", f"/v1/batches/{batch_id}", 200)
            assert batch["pending_count"] == 0

    @rule(who=WHO, pick=PICK, index=st.integers(0, 3), verb=st.sampled_from(("cancel", "retry")))
    def steer_item(self, who: int, pick: int, index: int, verb: str) -> None:
        """What its state does not allow is refused, and an item that is not there is not found."""
        batch_id = self.known[who].one(pick)
        if batch_id is not None:
            total = self.ask(who, "GET", f"/v1/batches/{batch_id}", 200)["total_count"]
            allowed = (200, 400) if index < total else (404,)
            self.ask(who, "POST", f"/v1/batches/{batch_id}/items/{index}/{verb}", *allowed)

    @rule(who=WHO, number=st.integers(0, 2), events=st.sampled_from((None, ["video.*"], ["batch.failed"])))
    def make_endpoint(self, who: int, number: int, events: list[str] | None) -> None:
        """One for each address."""
        known, url = self.known[who], f"http://127.0.0.1:1/{number}"
        listed = self.ask(who, "GET", "/v1/webhooks/endpoints", 200)["data"]
        assert [each["endpoint_id"] for each in listed] == known.endpoints
        is_taken = url in {each["url"] for each in listed}
        document = {"url": url, "enabled": False, "events": events}
        made = self.ask(who, "POST", "/v1/webhooks/endpoints", 422 if is_taken else 201, json=document)
        if not is_taken:
            known.endpoints.append(made["endpoint"]["endpoint_id"])

    @rule(who=WHO, pick=PICK, verb=st.sampled_from(("rotate", "change", "delete")))
    def steer_endpoint(self, who: int, pick: int, verb: str) -> None:
        """Until it is deleted."""
        known = self.known[who]
        if not known.endpoints:
            return
        endpoint_id = known.endpoints[pick % len(known.endpoints)]
        path = f"/v1/webhooks/endpoints/{endpoint_id}"
        if verb == "rotate":
            self.ask(who, "POST", f"{path}/rotate", 200)
        elif verb == "change":
            self.ask(who, "PATCH", path, 200, json={"events": ["batch.*"], "description": "d"})
        else:
            self.ask(who, "DELETE", path, 200)
            self.ask(who, "GET", path, 404)
            known.endpoints.remove(endpoint_id)

    @rule(who=WHO, scope=st.sampled_from(("read", "submit")), pick=PICK)
    def keys(self, who: int, scope: str, pick: int) -> None:
        """A new key, or the end of one."""
        known = self.known[who]
        if len(known.keys) < 2:
            made = self.ask(who, "POST", "/v1/keys", 201, json={"scope": scope})
            known.keys.append(made["key_id"])
        else:
            key_id = known.keys.pop(pick % len(known.keys))
            self.ask(who, "DELETE", f"/v1/keys/{key_id}", 200)
        listed = self.ask(who, "GET", "/v1/keys", 200)["data"]
        good = [key["key_id"] for key in listed if key["revoked_at"] is None and not key["is_this"]]
        assert sorted(good) == sorted(known.keys)

    # --- looking ----------------------------------------------------------------------------------------

    @rule(who=WHO, team=TEAMS, limit=st.integers(1, 3), ascending=st.booleans())
    def list_batches(self, who: int, team: str | None, limit: int, ascending: bool) -> None:
        """All that were made, and no other."""
        wanted = [each for each, its in self.known[who].batches.items() if team is None or its == team]
        query: dict[str, Any] = {"limit": limit, "order": "asc" if ascending else "desc"}
        if team is not None:
            query["metadata.team"] = team
        found: list[str] = []
        has_more = True
        while has_more:
            more = {"after": found[-1]} if found else {}
            page = self.ask(who, "GET", "/v1/batches", 200, params=query | more)
            found += [batch["batch_id"] for batch in page["data"]]
            has_more = page["has_more"]
        assert found == (wanted if ascending else wanted[::-1])

    @rule(who=WHO, pick=PICK)
    def look_at_batch(self, who: int, pick: int) -> None:
        """Each of its views tells of the same items."""
        batch_id = self.known[who].one(pick)
        if batch_id is None:
            return
        path = f"/v1/batches/{batch_id}"
        total = self.ask(who, "GET", path, 200)["total_count"]
        items = self.ask(who, "GET", f"{path}/items", 200)["items"]
        assert [item["index"] for item in items] == list(range(total))
        assert len(self.ask(who, "GET", f"{path}/manifest", 200)["files"]) == total
        assert len(self.ask(who, "GET", f"{path}/export", 200).splitlines()) == total
        assert self.ask(who, "GET", f"{path}/items/0/attempts", 200)["attempts"]
        self.ask(who, "GET", f"{path}/retries", 200)
        self.ask(who, "GET", f"{path}/verdicts", 200)

    @rule(who=WHO)
    def follow_log(self, who: int) -> None:
        """Each event comes once, in order, of batches that are its own."""
        known = self.known[who]
        page = self.ask(who, "GET", "/v1/events", 200, params={"after": known.log_position, "limit": 500})
        positions = [event["id"] for event in page["data"]]
        assert positions == list(range(known.log_position + 1, known.log_position + 1 + len(positions)))
        assert {event["batch_id"] for event in page["data"]} <= known.batches.keys()
        known.log_position = page["last_id"]

    @rule(who=WHO)
    def look_at_account(self, who: int) -> None:
        """Balance, ledger, usage, deliveries, models."""
        known = self.known[who]
        self.ask(who, "GET", "/v1/credits/balance", 200)
        entries = self.ask(who, "GET", "/v1/credits/ledger", 200)["entries"]
        assert {entry["batch_id"] for entry in entries} <= {None, *known.batches}
        self.ask(who, "GET", "/v1/usage", 200, params={"by": "day,model,key"})
        for delivery in self.ask(who, "GET", "/v1/webhooks/deliveries", 200)["data"]:
            assert delivery["batch_id"] in known.batches
        self.ask(who, "GET", "/v1/models/stats", 200)
        self.ask(who, "GET", "/v1/models/accepted", 200)

    @rule(who=WHO, pick=PICK)
    def reach_for_the_others(self, who: int, pick: int) -> None:
        """What is the other's is not found, whatever is asked of it."""
        other = self.known[1 - who]
        batch_id = other.one(pick)
        paths = [] if batch_id is None else [("GET", f"/v1/batches/{batch_id}")]
        if batch_id is not None:
            paths += [("GET", f"/v1/batches/{batch_id}/{view}") for view in ("items", "export", "verdicts")]
            paths += [("GET", f"/v1/batches/{batch_id}/manifest")]
            paths += [("POST", f"/v1/batches/{batch_id}/cancel"), ("GET", f"/v1/videos/{batch_id}")]
            paths += [
                ("POST", f"/v1/batches/{batch_id}/items/0/cancel"),
                ("DELETE", f"/v1/videos/{batch_id}"),
            ]
        paths += [("GET", f"/v1/webhooks/endpoints/{each}") for each in other.endpoints]
        paths += [("POST", f"/v1/webhooks/endpoints/{each}/rotate") for each in other.endpoints]
        paths += [("DELETE", f"/v1/keys/{each}") for each in other.keys]
        for method, path in paths:
            self.ask(who, method, path, 404)

    def teardown(self) -> None:
        """The books of both are exact, at one moment."""
        for tenant in self.tenants:
            (books,) = self.service.rows(
                "SELECT a.available, a.held, (SELECT COALESCE(SUM(b.credits_reserved - b.credits_settled"
                " - b.credits_refunded), 0) FROM batches b WHERE b.account_id = a.id) AS open_credits,"
                " (SELECT SUM(e.delta) FROM ledger_entries e WHERE e.account_id = a.id) AS entries,"
                " (SELECT SUM(b.credits_settled) FROM batches b WHERE b.account_id = a.id) AS settled"
                " FROM accounts a WHERE a.name = :name",
                name=tenant.account,
            )
            assert int(books["held"]) == int(books["open_credits"])
            assert int(books["available"]) == int(books["entries"])
            assert int(books["available"]) + int(books["held"]) == CREDITS - int(books["settled"] or 0)
            tenant.http.close()
