"""`python -m benchmarks [NAME …]`: run the named benchmarks, or all but those of the dashboard's pages.

A benchmark is a module of this package with a function `run()` that prints its table and writes its
section of the report. Modules whose names begin with an underscore are parts of benchmarks.
"""

import importlib
import pkgutil
import sys
import traceback
from pathlib import Path

_NOT_BENCHMARKS = frozenset({"report"})
_ONLY_BY_NAME = frozenset({"page_loads", "pages", "task_list"})
"""They need a browser, and up to an hour."""


def names() -> list[str]:
    """The benchmarks there are."""
    modules = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in modules if not name.startswith("_") and name not in _NOT_BENCHMARKS)


def main(wanted: list[str]) -> int:
    """Run the wanted benchmarks one after the other; returns the exit code: 2 for an unknown name, 1 when one
    ended with an error, which does not end the others."""
    known = names()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"no benchmark {unknown[0]}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    failed: list[str] = []
    for name in wanted or [name for name in known if name not in _ONLY_BY_NAME]:
        print(f"== {name} ==", flush=True)
        try:
            importlib.import_module(f"benchmarks.{name}").run()
        except Exception:
            traceback.print_exc()
            failed.append(name)
    importlib.import_module("benchmarks._targets").show()  # it knows all of them
    if failed:
        print(f"ended with an error: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
