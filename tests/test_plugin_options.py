"""A plug-in's model with options of every kind, priced by the second: from CSV, JSON Lines, API and SDK."""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.api.harness import running_service
from tests.cli.process import QUICK, Shell
from tests.files import media_samples as samples
from tests.plugins import install_plugin

LUMEN = """
import msgspec
from rushes.plugin import (
    DecimalNumber, HttpProvider, MediaInput, Model, OneOf, Seed, Succeeded, Text, Url, UrlList, WholeNumber,
    Wire, YesNo, accepted, read_cost, read_price, succeeded,
)

OPTIONS = {
    "duration": WholeNumber(2, 12, default=4, wire=Wire(path="seconds", template="{}s")),
    "resolution": OneOf(("720p", "1080p"), default="720p"),
    "audio": YesNo(default=False, wire=Wire(path="settings.audio")),
    "strength": DecimalNumber(0, 1),
    "mood": Text(characters_max=40),
    "seed": Seed(),
    "style_url": Url(),
    "palette_urls": UrlList(3),
    "first_frame": MediaInput(ways=("data_uri", "url"), data_uri_bytes_max=5_000_000),
}
MODELS = [
    Model(
        name="lumen-1", provider="lumen", api_model="lumen-1", options=OPTIONS,
        price=read_price({
            "per_second": 3, "per_input_image": 1,
            "by": {"resolution": {"1080p": 2}, "audio": {"true": 1.5}},
        }),
        cost=read_cost({"per_second": "0.02", "currency": "USD", "as_of": "2026-11-29", "source": "a page"}),
        render_time_p50_seconds=1.0, soft_deadline_seconds=600.0, hard_deadline_seconds=3600.0,
    )
]

class Lumen(HttpProvider):
    name = "lumen"

    def __init__(self, config):
        super().__init__(config, headers={"authorization": f"Bearer {config.api_key}"})

    async def submit(self, request):
        frames = [file.address for file in request.inputs.get("first_frame", ())]
        body = {"prompt": request.prompt, "frames": frames, **request.described_fields(())}
        return await self.send_submit(
            f"{self.host}/videos", msgspec.json.encode(body),
            lambda answer: accepted(msgspec.json.decode(answer)["id"]),
        )

    async def poll_remote_task(self, remote_task_id):
        url = f"{self.host}/videos/{remote_task_id}"
        return await self.send_poll("GET", url, None, lambda answer: succeeded(f"{self.host}/clip.mp4", 100))

def build(config):
    return Lumen(config)
"""

PICTURE = samples.png()
CLIP = files("rushes.simulator") / "media" / "landscape.mp4"
OPTIONS: dict[str, Any] = {
    "duration": 10,
    "resolution": "1080p",
    "audio": True,
    "strength": 0.25,
    "mood": "calm, blue",
    "seed": 7,
    "style_url": "https://i.example/style.png",
    "palette_urls": ["https://i.example/a.png", "https://i.example/b.png"],
}
CREDITS = 94
"""3 a second, ten seconds, twice for 1080p, half as much again for sound, and four pictures."""

SENT = {
    "prompt": "a paper boat",
    "frames": ["data:image/png;base64," + b64encode(PICTURE).decode()],
    "seconds": "10s",
    "resolution": "1080p",
    "settings": {"audio": True},
    **{name: OPTIONS[name] for name in ("strength", "mood", "seed", "style_url", "palette_urls")},
}


class Lumen(ThreadingHTTPServer):
    """The invented service: what was submitted to it stands in `bodies`."""

    bodies: list[dict[str, Any]]


class Answers(BaseHTTPRequestHandler):
    """Takes every submit, and has finished it."""

    def do_POST(self) -> None:
        assert isinstance(self.server, Lumen)
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.answer({"id": f"v-{len(self.server.bodies)}"})

    def do_GET(self) -> None:
        if self.path == "/clip.mp4":
            self.send(CLIP.read_bytes(), "video/mp4")
        else:
            self.answer({"id": self.path.rpartition("/")[2], "status": "succeeded"})

    def answer(self, document: object) -> None:
        self.send(json.dumps(document).encode(), "application/json")

    def send(self, data: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def lumen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lumen]:
    install_plugin(tmp_path, monkeypatch, "lumen", LUMEN)
    server = Lumen(("127.0.0.1", 0), Answers)
    server.bodies = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def environment_of(lumen: Lumen) -> dict[str, str]:
    return {
        "RUSHES_PROVIDER_LUMEN_KEY": "a-key",
        "RUSHES_PROVIDER_LUMEN_HOST": f"http://127.0.0.1:{lumen.server_address[1]}",
        "RUSHES_DEFAULT_MODEL": "lumen-1",
    }


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_from_a_file_of_prompts(lumen: Lumen, tmp_path: Path, form: str) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "boat.png").write_bytes(PICTURE)
    shell = Shell(folder, {**QUICK, **environment_of(lumen)})
    if form == "csv":
        palette = "|".join(OPTIONS["palette_urls"])
        cells = {**OPTIONS, "audio": "true", "mood": '"calm, blue"', "palette_urls": palette}
        names = ",".join(("prompt", "first_frame", *cells))
        text = f"{names}\na paper boat,boat.png,{','.join(str(value) for value in cells.values())}\n"
    else:
        text = json.dumps({"prompt": "a paper boat", "first_frame": "boat.png", **OPTIONS}) + "\n"
    shell.write(f"p.{form}", text)
    quote = shell.call("quote", f"p.{form}", "--json")
    assert quote.code == 0, quote.stderr
    assert quote.document["credits"] == CREDITS
    assert quote.document["provider_cost"] == {"USD": "0.2"}
    ended = shell.call("run", f"p.{form}", "--json", "--grant", "1000")
    assert lumen.bodies == [SENT], ended.stderr
    batch = shell.call("batch", "show", "last", "--json").document
    assert (batch["credits_reserved"], batch["credits_settled"]) == (CREDITS, CREDITS)
    shell.assert_books_are_right()


def test_from_the_api_and_openais_sdk(lumen: Lumen, database_url: str, tmp_path: Path) -> None:
    environment = {**environment_of(lumen), "RUSHES_ARCHIVE_URL": str(tmp_path / "archive")}
    with running_service(database_url, environment=environment) as service:
        tenant = service.tenant(credits=1000)
        upload = tenant.request(
            "POST", "/v1/uploads", content=PICTURE, headers={"content-type": "image/png"}
        ).json()["upload_id"]
        item = {"prompt": "a paper boat", "first_frame": upload, **OPTIONS}
        assert tenant.post("/v1/quotes", {"items": [item]})["items"][0]["credits"] == CREDITS
        batch = tenant.post("/v1/batches", {"items": [item]}, status=201)
        ended = batch
        while ended["status"] in ("pending", "processing"):
            ended = tenant.get(f"/v1/batches/{batch['batch_id']}?wait=30")
        assert (ended["status"], ended["credits_settled"]) == ("succeeded", CREDITS)

        client = openai.OpenAI(api_key=tenant.key, base_url=f"{service.base_url}/v1", max_retries=0)
        more = {name: value for name, value in OPTIONS.items() if name != "duration"}
        more["first_frame"] = upload
        for body in (more, {"options": more}):
            seconds: Any = "10"
            video = client.videos.create(
                model="lumen-1", prompt="a paper boat", seconds=seconds, extra_body=body
            )
            while video.status in ("queued", "in_progress"):
                video = client.videos.retrieve(video.id)
            assert video.status == "completed"
        client.close()
        assert tenant.get("/v1/credits/balance")["available"] == 1000 - 3 * CREDITS
    assert lumen.bodies == [SENT] * 3


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("duration", 13, "must be a whole number from 2 to 12, not 13"),
        ("resolution", "8k", 'must be "720p" or "1080p", not "8k"'),
        ("audio", "yes", 'must be true or false, not "yes"'),
        ("strength", 1.5, "must be a number from 0 to 1, not 1.5"),
        ("mood", "x" * 41, "41 characters, more than 40"),
        ("seed", -1, "must be a whole number from 0 to 2147483647, not -1"),
        ("style_url", "ftp://i.example/a.png", "must be an http or https URL"),
        ("palette_urls", ["https://i.example/a.png"] * 4, "4 URLs, more than the 3 that the model takes"),
        ("strenght", 0.5, 'did you mean "strength"?'),
    ],
)
def test_a_value_that_the_plug_in_does_not_take_is_one_line_with_its_place(
    lumen: Lumen, tmp_path: Path, name: str, value: object, reason: str
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    shell = Shell(folder, {**QUICK, **environment_of(lumen)})
    shell.write("p.jsonl", json.dumps({"prompt": "a boat"}) + "\n" + json.dumps({"prompt": "a", name: value}))
    refused = shell.call("run", "p.jsonl", "--grant", "1000")
    assert refused.one_line_error().startswith(f"rushes: p.jsonl:2: {name}: ")
    assert reason in refused.stderr
    assert lumen.bodies == []
