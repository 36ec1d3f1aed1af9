"""The tutorial's commands, run as they stand there; the simulator has another port if 8787 is taken."""

import csv
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

TUTORIAL = (Path(__file__).parent.parent / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r'```sh title="(first|second) terminal"\n(.*?)```', TUTORIAL, re.DOTALL)
PORT = "8787"
SECONDS_MAX = 300


def _free_port() -> str:
    for port in (int(PORT), 0):
        with socket.socket() as listening:
            try:
                listening.bind(("127.0.0.1", port))
            except OSError:
                continue
            return str(listening.getsockname()[1])
    raise AssertionError("no port is free")


def test_the_tutorial_leads_from_an_empty_folder_to_videos_and_a_clean_audit(tmp_path: Path) -> None:
    port = _free_port()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("RUSHES_", "GRSAI_"))
    }
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    (first,) = (code for terminal, code in BLOCKS if terminal == "first")
    second = [code for terminal, code in BLOCKS if terminal == "second"]
    assert TUTORIAL.count("```sh") == len(BLOCKS)

    simulator = subprocess.Popen(
        ["bash", "-c", f"exec {first.strip().replace(PORT, port)}"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert simulator.stderr is not None
        assert "simulator at" in simulator.stderr.readline()
        # after each block, its exit code; blocks share one shell, as they do for a reader
        script = "\n".join(f'{code.replace(PORT, port)}echo "== $?"' for code in second)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )
    finally:
        simulator.terminate()
        simulator.communicate(timeout=20)
    parts = re.split(r"^== (\d+)\n", done.stdout, flags=re.MULTILINE)
    outputs, codes = parts[:-1:2], parts[1::2]
    said = done.stdout + done.stderr
    # the only one that fails is the batch some of whose videos the simulator refuses
    assert codes == ["5" if code.startswith("cat > prompts.txt") else "0" for code in second], said
    by_first_word = {code.split("\n")[0]: output for code, output in zip(second, outputs, strict=True)}
    assert "output_moderation" in by_first_word["cat > prompts.txt <<'END'"]
    assert "reserved 50 = settled 40 + refunded 10" in by_first_word['rushes batch retry "$BATCH"']
    assert len(list((tmp_path / "videos").glob("*.mp4"))) == 4
    with (tmp_path / "videos.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["succeeded"] * 4
    books = by_first_word["rushes credits balance"]
    assert re.search(r"^available +60$", books, re.MULTILINE)
    assert "audit clean" in books
    assert re.search(r"^ok +yes$", outputs[-1], re.MULTILINE)
