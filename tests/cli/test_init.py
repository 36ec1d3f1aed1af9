"""`rushes init`: three files to start from, each of which works as it is and with its comments taken away."""

import re
import tomllib

from rushes.settings import field_name_of_variable
from tests.cli.process import Shell


def test_init_writes_files_that_work_and_keeps_what_is_there(shell: Shell) -> None:
    made = shell.call("init", "campaign", "--json")
    assert made.document["written"] == ["prompts.csv", "rushes.toml", ".env.example"]
    quote = shell.call("quote", "campaign/prompts.csv", "--json", RUSHES_CONFIG="campaign/rushes.toml")
    assert (quote.code, quote.document["total"]) == (0, 2), quote.stderr
    shell.write("campaign/prompts.csv", "mine")
    again = shell.call("init", "campaign", "--json")
    assert (again.document["written"], again.document["kept"]) == (
        [],
        ["prompts.csv", "rushes.toml", ".env.example"],
    )
    assert (shell.folder / "campaign" / "prompts.csv").read_text() == "mine"
    shell.write("file", "")
    assert "file: cannot be a folder" in shell.call("init", "file").one_line_error()


def test_every_commented_line_of_the_files_is_a_setting(shell: Shell) -> None:
    shell.call("init")
    text = (shell.folder / "rushes.toml").read_text()
    whole = re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE)
    assert set(tomllib.loads(whole)) == {"default_model", "credit_value", "models", "aliases"}
    shell.write("rushes.toml", whole)
    doctor = shell.call("quote", "prompts.csv", RUSHES_CONFIG="rushes.toml")
    assert doctor.code == 0, doctor.stderr
    names = re.findall(r"^#? ?([A-Z_]+)=", (shell.folder / ".env.example").read_text(), re.MULTILINE)
    assert len(names) > 4
    assert set(names) <= set(field_name_of_variable())
