"""`Rushes`: all parts of the library in one class."""

from rushes.library.comparing import WithComparing
from rushes.library.credits import WithCredits
from rushes.library.operators import WithOperators
from rushes.library.provenance import WithProvenance
from rushes.library.verdicts import WithVerdicts


class Rushes(WithOperators, WithCredits, WithComparing, WithProvenance, WithVerdicts):
    """Batches, credits and the worker, over one database: what the command line does, as a library.

        async with Rushes() as rushes:
            await rushes.grant(100)
            batch = await rushes.create_batch([{"prompt": "a paper boat"}], model="sora-2")
            batch = await rushes.run(batch["batch_id"])

    Answers are dictionaries with the field names of the HTTP API. Every method may raise a `RushesError`.
    """
