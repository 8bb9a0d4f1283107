"""All figures of the inside, in one place to import from. Each takes numbers, arrays or results, never a model."""

from tml_lab.plot.attention import attention_track, plot_attention, plot_attention_lag, watched_track
from tml_lab.plot.attribution import attribution_track, plot_attribution, plot_attribution_turn
from tml_lab.plot.circuit import plot_circuit
from tml_lab.plot.counterfactual import (
    changed_track,
    divergence_track,
    plot_cause,
    plot_divergence,
    plot_outcomes,
)
from tml_lab.plot.decision import decision_track, lens_track, logit_track, plot_decisions, plot_lens
from tml_lab.plot.effects import plot_ablation, plot_dose, plot_ranking
from tml_lab.plot.grid import grid_track, parts_track, plot_heads, plot_table
from tml_lab.plot.lags import plot_aligned, plot_cka
from tml_lab.plot.patching import plot_parts, plot_sweep, sweep_track
from tml_lab.plot.pattern import plot_pattern
from tml_lab.plot.probing import features_track, plot_features, plot_probe, probe_track
from tml_lab.plot.results import (
    plot_dose_response,
    plot_inertia,
    plot_lag_curve,
    plot_listening,
    plot_preserved,
    plot_probes,
    plot_rises,
)
from tml_lab.plot.routing import plot_expert_use, plot_routing, routing_track
from tml_lab.plot.sound import heard_track, said_track, typed_track, wave_track, words_track
from tml_lab.plot.style import alt_of, in_dark, to_html, to_json
from tml_lab.plot.track import Track, stack

__all__ = [
    "Track", "alt_of", "attention_track", "attribution_track", "changed_track", "decision_track",
    "divergence_track", "features_track", "grid_track", "heard_track", "in_dark", "lens_track", "logit_track",
    "parts_track", "plot_ablation", "plot_aligned", "plot_attention", "plot_attention_lag",
    "plot_attribution", "plot_attribution_turn", "plot_cause", "plot_circuit", "plot_cka", "plot_decisions",
    "plot_divergence", "plot_dose", "plot_dose_response", "plot_expert_use", "plot_features", "plot_heads",
    "plot_inertia", "plot_lag_curve", "plot_lens", "plot_listening", "plot_outcomes", "plot_parts",
    "plot_pattern", "plot_preserved", "plot_probe", "plot_probes", "plot_ranking", "plot_rises",
    "plot_routing", "plot_sweep", "plot_table", "probe_track", "routing_track", "said_track", "stack",
    "sweep_track", "to_html", "to_json", "typed_track", "watched_track", "wave_track", "words_track",
]  # fmt: skip
