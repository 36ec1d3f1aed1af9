"""Ready-made weathers for `rushes sim --preset NAME` and for tests."""

from collections.abc import Mapping
from types import MappingProxyType

from rushes.simulator.knobs import SimulatorKnobs

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
"""Some moderation, few errors. The shares are chosen, not measured."""

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
    cancel_server_error=0.1,
    cancel_accepted_then_reset=0.1,
    find_server_error=0.1,
    find_reset_after=0.1,
    find_lag_seconds=0.5,
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

GATEWAY = SimulatorKnobs(
    gateway=0.95,
    output_moderation=0.1,
    input_moderation=0.05,
    error=0.1,
    forgotten=0.04,
    failed_without_reason=0.08,
    submit_rejected=0.1,
    submit_throttled=0.02,
    submit_throttled_bare=0.05,
    submit_server_error=0.04,
    poll_unknown_status=0.05,
    poll_throttled=0.02,
    poll_server_error=0.02,
    latency_min_seconds=0.002,
    latency_max_seconds=0.03,
)
"""Every dialect of an OpenAI-compatible gateway, on OpenAI's paths; the other protocols know no dialects."""

DESYNC = SimulatorKnobs(
    submit_doubled=0.3,
    submit_swapped=0.05,
    poll_doubled=0.3,
    poll_swapped=0.1,
    output_moderation=0.05,
    error=0.05,
    forgotten=0.02,
    business_code=0.02,
    latency_min_seconds=0.001,
    latency_max_seconds=0.01,
)
"""A gateway that writes answers twice, late, and to the wrong questions, on submits and polls alike."""

PRESETS: Mapping[str, SimulatorKnobs] = MappingProxyType(
    {"calm": CALM, "realistic": REALISTIC, "stormy": STORMY, "gateway": GATEWAY, "desync": DESYNC}
)
