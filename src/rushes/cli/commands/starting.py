"""`rushes init` and `rushes completion`: what a new user needs once."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from rushes.cli.options import Json

PROMPTS = """\
prompt,model,duration,aspect_ratio,custom_id
"A paper boat drifts down a rain-filled gutter, seen from above",sora-2,10,16:9,scene-1
"A lighthouse keeper paints the railing while the tide comes in",sora-2,10,16:9,scene-2
"""

CONFIG = """\
# Models, prices and providers of this installation. Every line is optional; secrets stay in .env.
# All of it: docs/models-and-prices.md.

# The model of items that name none.
# default_model = "sora-2"

# What one credit is worth, to see the margin.
# credit_value = "0.01 USD"

# Change a model's price, or turn it off.
# [models.sora-2]
# price = { per_video = 12 }

# One name for several models: the first that works is taken.
# [aliases.fast]
# models = ["veo-flash", "sora-2"]
"""

ENVIRONMENT = """\
# Copy this file to .env; rushes reads it from the folder it runs in. `rushes doctor` shows what it found.

# The key of each provider whose models you use.
GRSAI_API_KEY=
# FAL_KEY=
# RUNWAYML_API_SECRET=
# GEMINI_API_KEY=

# Where the database and the videos are kept.
# RUSHES_DATA_DIR=rushes-data

# The public address of `rushes serve`: providers call it, so that a finished video is polled at once.
# Both are needed: the secret signs the addresses that they call.
# RUSHES_BASE_URL=
# RUSHES_WEBHOOK_SECRET=
"""

FILES = {"prompts.csv": PROMPTS, "rushes.toml": CONFIG, ".env.example": ENVIRONMENT}


def init(
    folder: Annotated[Path, Parameter(help="The folder; made when it is new.")] = Path(),
    /,
    *,
    json: Json = False,
) -> None:
    """Write a prompts.csv, a rushes.toml and a .env.example with comments to start from.

    Files that are there already are left as they are.
    """
    from rushes.cli.show import print_json, print_line
    from rushes.video_folder import folder_at, write_text

    folder_at(folder)
    written = [name for name in FILES if not (folder / name).exists()]
    for name in written:
        write_text(folder / name, FILES[name])
    kept = [name for name in FILES if name not in written]
    if json:
        print_json({"ok": True, "folder": str(folder), "written": written, "kept": kept})
        return
    for name in FILES:
        print_line(f"{folder / name}: {'written' if name in written else 'kept as it is'}")
    print_line("next: copy .env.example to .env, put your key in, and `rushes quote prompts.csv`")


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="Your shell.")],
    /,
    *,
    json: Json = False,
) -> None:
    """Print a completion script for your shell: commands, options and their values."""
    from rushes.cli.app import COMMANDS, app_with
    from rushes.cli.show import print_json

    script = app_with(COMMANDS).generate_completion(prog_name="rushes", shell=shell)
    if json:
        print_json({"ok": True, "shell": shell, "script": script})
    else:
        print(script)
