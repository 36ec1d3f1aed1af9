"""For authors of providers: one line of pytest that shows whether a provider keeps the contract.

    from rushes.testing import ProviderCase, Reply, conformance_suite

    TestAcme = conformance_suite(ProviderCase(name="acme", build=build, …))

Everything runs over real HTTP on this machine against samples of the service's answers, and against
those samples cut, retyped, left out and mixed with faults of the network. Nothing else is needed: no
account, no database, no pytest plug-in. See docs/providers.md.
"""

from rushes.testing.asked import SUBMIT_KEY
from rushes.testing.case import CancelCase, FindCase, ProviderCase, Reply
from rushes.testing.suite import ProviderConformance, conformance_suite

__all__ = [
    "SUBMIT_KEY",
    "CancelCase",
    "FindCase",
    "ProviderCase",
    "ProviderConformance",
    "Reply",
    "conformance_suite",
]
