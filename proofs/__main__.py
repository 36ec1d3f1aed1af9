"""`python -m proofs NAME`: run one proof, or all of them; exit code 1 when anything differs."""

import argparse
import importlib
import signal
import sys
from pathlib import Path

PROOFS = {
    "prompts": "proofs.prompts",
    "kill-sqlite": "proofs.kill_sqlite",
    "kill-postgresql": "proofs.kill_postgresql",
    "zombies": "proofs.zombies",
    "postgresql-restarts": "proofs.restarts",
    "proxy-cuts": "proofs.cuts",
    "proxy-out": "proofs.proxy_out",
    "silent-names": "proofs.silent_names",
    "silence": "proofs.silence",
    "sigterm-slow": "proofs.sigterm_slow",
    "hangup": "proofs.hangup",
    "disk-full": "proofs.disk",
    "rerolls": "proofs.rerolls",
    "providers": "proofs.providers",
    "gateway": "proofs.gateway",
    "desync": "proofs.desync",
    "duplicates": "proofs.duplicates",
    "callbacks": "proofs.callbacks",
    "webhooks": "proofs.webhooks",
    "archive": "proofs.archive",
    "gate": "proofs.gate",
    "looks": "proofs.looks",
    "accepted": "proofs.accepted",
    "chains": "proofs.chains",
    "deadlines": "proofs.deadlines",
    "attack": "proofs.attack",
    "container": "proofs.container",
    "rotation": "proofs.rotation",
    "year": "proofs.year",
    "soak": "proofs.soak",
}

ALONE = frozenset({"container", "soak"})
"""Proofs that `all` leaves out: they change the machine, need what few have, or take hours."""


def parser() -> argparse.ArgumentParser:
    """One subcommand for each proof, with its own options besides the common ones."""
    root = argparse.ArgumentParser(prog="python -m proofs", description="Proofs with real processes.")
    commands = root.add_subparsers(dest="name", required=True)
    commands.add_parser("all", help="every proof with its default options")
    for name, module_name in PROOFS.items():
        module = importlib.import_module(module_name)
        command = commands.add_parser(name, help=(module.__doc__ or "").split(": ", 1)[-1].strip())
        command.add_argument(
            "--tasks", type=int, default=module.TASKS, help="in a batch (default: %(default)s)"
        )
        command.add_argument("--seed", type=int, default=1, help="of faults and moments (default: 1)")
        command.add_argument(
            "--prompts", type=Path, default=None, help="a text file, one a line; else made-up ones"
        )
        module.add_options(command)
    return root


def main(arguments: list[str]) -> int:
    """Run what is asked for."""
    commands = parser()
    options = commands.parse_args(arguments)
    names = [name for name in PROOFS if name not in ALONE] if options.name == "all" else [options.name]
    ok = True
    for name in names:
        chosen = commands.parse_args([name]) if options.name == "all" else options
        result = importlib.import_module(PROOFS[name]).run(chosen)
        print("\n".join(result.lines()), flush=True)
        ok = ok and result.ok
    return 0 if ok else 1


if __name__ == "__main__":
    # a proof that is told to stop takes its processes with it
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    sys.exit(main(sys.argv[1:]))
