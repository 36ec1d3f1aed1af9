"""The contact sheet: one HTML file with every item of a batch, for the screen and for the printer.

It needs no script and nothing from the network: thumbnails stand in the file, videos are links beside it.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from rushes.cli.show import proof_line
from rushes.domain.notation import counted

ITEMS_MAX = 2000
"""Of one sheet: a browser still shows it, and a printer still prints it."""

STYLE = """
:root { color-scheme: light dark; --line: light-dark(#ddd, #333); --quiet: light-dark(#666, #999) }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1.5rem }
h1 { font-size: 1.4rem; margin: 0 }
header p { color: var(--quiet); margin: .3rem 0 0 }
main { display: grid; gap: 1.2rem; margin-top: 1.5rem }
main { grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)) }
figure { border: 1px solid var(--line); border-radius: 8px; margin: 0; overflow: hidden }
.picture { align-items: center; aspect-ratio: 16/9; background: #111; color: #bbb }
.picture { display: flex; justify-content: center }
.picture a { display: block; height: 100%; width: 100% }
.picture img, .picture video { height: 100%; object-fit: contain; width: 100% }
figcaption { padding: .6rem .8rem .8rem }
figcaption p { margin: 0 0 .4rem; overflow-wrap: anywhere }
small { color: var(--quiet) }
.accepted, .succeeded { color: light-dark(#176c2f, #6fcf8b) }
.rejected, .failed { color: light-dark(#b3261e, #f2938c) }
@media print {
  body { margin: 0; max-width: none; padding: 0 }
  main { grid-template-columns: repeat(4, 1fr) }
  figure { break-inside: avoid }
}
"""


@dataclass(frozen=True, slots=True)
class Clip:
    """What there is to show of an item: a JPEG, and where its video is from the sheet's folder."""

    thumbnail: bytes | None = None
    video: str | None = None


def contact_sheet(
    batch: Mapping[str, Any], items: Sequence[Mapping[str, Any]], clips: Mapping[int, Clip]
) -> Iterator[str]:
    """The page in parts. `batch` and `items` are in the API's fields; `clips` go by the items' indexes."""
    title = f"Batch {batch['batch_id']}"
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:;'
        " media-src *; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><header>"
        f"<h1>{escape(title)}</h1><p>{_summary(batch)}</p><p>{escape(proof_line(batch))}</p></header>\n<main>\n"
    )
    for item in items:
        yield _figure(item, clips.get(item["index"], Clip()))
    yield "</main></body></html>\n"


def _summary(batch: Mapping[str, Any]) -> str:
    parts = [
        f'<span class="{escape(batch["status"])}">{escape(batch["status"])}</span>',
        counted(batch["total_count"], "item"),
        f"{batch['succeeded_count']} succeeded",
        f"{batch['failed_count']} failed",
        escape(str(batch["created_at"])),
    ]
    return " · ".join(parts)


def _figure(item: Mapping[str, Any], clip: Clip) -> str:
    facts = [f"{item['index']}", escape(item["custom_id"] or ""), escape(item["model"])]
    state = escape(item["failure_type"] or item["status"])
    verdict = item.get("verdict")
    facts.append(f'<span class="{escape(item["status"])}">{state}</span>')
    if verdict:
        reasons = ", ".join(item.get("verdict_reasons") or ())
        shown = escape(f"{verdict}: {reasons}" if reasons else verdict)
        facts.append(f'<span class="{escape(verdict)}">{shown}</span>')
    facts.append(counted(item["credits"], "credit"))
    return (
        f'<figure id="item-{item["index"]}"><div class="picture">{_picture(item, clip)}</div>'
        f"<figcaption><p>{escape(item['prompt'])}</p>"
        f"<small>{' · '.join(fact for fact in facts if fact)}</small></figcaption></figure>\n"
    )


def _picture(item: Mapping[str, Any], clip: Clip) -> str:
    link = None if clip.video is None else escape(quote(clip.video))
    label = escape(f"item {item['index']}")
    if clip.thumbnail is not None:
        data = base64.b64encode(clip.thumbnail).decode()
        image = f'<img src="data:image/jpeg;base64,{data}" alt="{label}">'
        return image if link is None else f'<a href="{link}">{image}</a>'
    if link is not None:
        return f'<video src="{link}" preload="metadata" controls aria-label="{label}"></video>'
    return "no video" if item["status"] in ("failed", "succeeded") else "not finished"
