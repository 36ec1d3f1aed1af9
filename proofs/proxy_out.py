"""`proxy-out`: every request to the provider goes through a CONNECT proxy that refuses, stalls and drops tunnels.

The provider is known by a name that nobody here can look up, and spoken to through TLS. Its own report says what
arrived: no attempt twice, no acceptance lost but those whose answer the proxy cut.
"""

import argparse
import random
from urllib.parse import urlsplit

from proofs.connect_proxy import STRIKES, ConnectProxy
from proofs.result import ProofResult
from proofs.stage import Pace, stage

TASKS = 200
NAME = "provider.invalid"
WEATHER = ("output_moderation=0.05", "poll_server_error=0.03")
PASSWORD = "canary-of-the-proxy"


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many tunnels fare badly."""
    parser.add_argument("--share", type=float, default=0.35, help="of the tunnels (default: %(default)s)")


def run(options: argparse.Namespace) -> ProofResult:
    """One worker behind the proxy; compare task by task with what the provider saw."""
    with ConnectProxy(NAME, random.Random(options.seed), options.share) as proxy:
        pace = Pace(lease=10.0, render=1.0)
        environment = {
            "GRSAI_HOST": f"https://{NAME}",
            "RUSHES_PROXY": f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}",
        }
        with stage(
            "proxy-out", options, database_url=None, pace=pace, weather=WEATHER, environment=environment
        ) as on:
            certificate = on.site.folder / "authority.pem"
            certificate.write_bytes(proxy.authority.cert_pem.bytes())
            on.site.environment["SSL_CERT_FILE"] = str(certificate)
            proxy.target_port = urlsplit(on.service.url).port or 0
            on.feed()
            on.finish(on.start_workers(1))
            counted = on.compare(lossless=False)
            result = on.result
            for strike in STRIKES:
                result.fact(f"tunnels: {strike}", proxy.counts[strike])
                if not proxy.counts[strike]:
                    result.differ([f"no tunnel was struck: {strike}"])
            result.fact("tunnels left alone", proxy.counts["left alone"])
            if set(proxy.asked) != {f"{NAME}:443"}:
                result.differ([f"the proxy was asked for {', '.join(sorted(proxy.asked))}"])
            logs = "".join(path.read_text(errors="replace") for path in on.site.folder.glob("**/*.log"))
            if PASSWORD in logs:
                result.differ(["the proxy's password is in a log"])
            result.headline = (
                f"{counted.tasks:,} tasks through {sum(proxy.counts.values()):,} tunnels,"
                f" {sum(proxy.counts[strike] for strike in STRIKES):,} of them struck"
            )
            return result
