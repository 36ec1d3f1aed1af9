"""`rushes batch sheet`: one file with every item, whatever is in the prompts, for screen and printer."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from urllib.parse import unquote

from rushes.files.video_pictures import can_decode
from rushes.simulator import SimulatorThread
from tests.cli.conftest import NewSimulator
from tests.cli.process import Shell

HOSTILE = '<script>alert(1)</script> "quotes" & 橘猫'


class Page(HTMLParser):
    """The page's tags, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> list[str]:
        return [unquote(found) for _, a in self.tags for found in (a.get("href"), a.get("src")) if found]


def test_a_sheet_shows_each_item_and_links_to_the_videos_beside_it(
    new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell]
) -> None:
    shell = shell_at(new_simulator(output_moderation=0.4, seed=3))
    shell.write("p.txt", HOSTILE + "\n" + "".join(f"prompt {n}\n" for n in range(9)))
    ended = shell.call("run", "p.txt", "--out", "my videos")
    assert "--out 'my videos/index.html'` makes one page" in ended.stderr
    made = shell.call("batch", "sheet", "last", "--out", "my videos/index.html", "--json")
    assert made.document["items"] == 10, made.stderr
    text = (shell.folder / "my videos" / "index.html").read_text()
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("figure") == 10
    assert "script" not in [tag for tag, _ in page.tags]
    assert HOSTILE in page.text
    assert re.search(r"reserved 100 = settled \d+ \+ refunded \d+", page.text)
    assert "output_moderation" in page.text
    videos = [link for link in page.links() if not link.startswith("data:")]
    items = shell.ask(lambda rushes: rushes.items(made.document["batch_id"]))
    assert 0 < len(videos) == sum(item["status"] == "succeeded" for item in items) < 10
    assert all((shell.folder / "my videos" / name).is_file() for name in videos)
    assert ("data:image/jpeg;base64," in text) == can_decode()
    assert "@media print" in text
    assert not re.search(r"(?:src|href)=\"?https?:", text), "it needs nothing from the network"


def test_without_a_folder_it_links_to_the_archive_here(
    new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell]
) -> None:
    shell = shell_at(new_simulator())
    shell.write("p.txt", "a boat\n")
    batch_id = shell.call("run", "p.txt", "--json").document["batch_id"]
    assert shell.call("batch", "sheet", batch_id[:12]).code == 0
    (link,) = [
        link
        for link in Page((shell.folder / f"{batch_id}.html").read_text()).links()
        if not link.startswith("data:")
    ]
    assert (shell.folder / link).is_file()
    refused = shell.call("batch", "sheet", batch_id, "--out", "none/x.html")
    assert "none/x.html: cannot be written" in refused.one_line_error()
