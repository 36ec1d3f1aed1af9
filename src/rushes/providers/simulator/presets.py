"""Ready-made weathers for `rushes sim --preset NAME` and for tests."""

from collections.abc import Mapping
from types import MappingProxyType

from rushes.providers.simulator.knobs import SimulatorKnobs

CALM = SimulatorKnobs()
"""Nothing fails."""

REALISTIC = SimulatorKnobs(
    output_moderation=0.06,
    input_moderation=0.03,
    error=0.03,
    violation=0.02,
    succeeded_without_url=0.002,
    submit_server_error=0.002,
    submit_slow=0.005,
    submit_throttled=0.005,
    poll_server_error=0.01,
    poll_reset_after=0.002,
    poll_slow=0.005,
    slow_seconds=2.0,
    latency_min_seconds=0.01,
    latency_max_seconds=0.15,
    callback_lost=0.02,
    callback_late=0.05,
    callback_duplicate=0.05,
    file_server_error=0.05,
    file_expiry_seconds=7200.0,
)
"""Some moderation, few errors: an ordinary day. The shares are chosen, not measured."""

STORMY = SimulatorKnobs(
    output_moderation=0.08,
    input_moderation=0.05,
    error=0.05,
    violation=0.03,
    business_code=0.02,
    forgotten=0.01,
    succeeded_without_url=0.02,
    failed_without_reason=0.02,
    submit_rejected=0.02,
    submit_server_error=0.02,
    submit_html=0.01,
    submit_cut_json=0.01,
    submit_cut_body=0.01,
    submit_reset_before=0.02,
    submit_reset_after=0.01,
    submit_accepted_then_error=0.02,
    submit_accepted_then_reset=0.02,
    submit_refused=0.02,
    submit_slow=0.01,
    submit_throttled=0.05,
    submit_throttled_bare=0.03,
    poll_server_error=0.05,
    poll_html=0.02,
    poll_cut_json=0.02,
    poll_cut_body=0.02,
    poll_reset_before=0.03,
    poll_reset_after=0.03,
    poll_refused=0.02,
    poll_slow=0.02,
    poll_throttled=0.03,
    poll_throttled_bare=0.02,
    poll_unknown_status=0.03,
    poll_backwards=0.05,
    poll_progress_missing=0.03,
    slow_seconds=2.0,
    callback_lost=0.1,
    callback_late=0.1,
    callback_duplicate=0.2,
    callback_out_of_order=0.2,
    callback_forged=0.2,
    file_server_error=0.1,
    file_truncated=0.03,
    file_cut_body=0.1,
    file_html=0.03,
    file_empty=0.03,
    file_oversize=0.02,
    file_slow=0.03,
    file_slow_seconds=3.0,
    file_redirect=0.03,
)
"""Every transport fault, ambiguous submits, bad callbacks and bad files at once."""

PRESETS: Mapping[str, SimulatorKnobs] = MappingProxyType(
    {"calm": CALM, "realistic": REALISTIC, "stormy": STORMY}
)
