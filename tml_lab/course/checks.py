"""The exercises of all chapters, by name: `from tml_lab.course import checks`."""

from __future__ import annotations

from tml_lab.course.checks_ch01 import ch01_clock_digits, ch01_played_span, ch01_turn_hearing
from tml_lab.course.checks_ch02 import ch02_advance, ch02_causal_frames, ch02_quantize
from tml_lab.course.checks_ch03 import ch03_fold, ch03_project, ch03_turns_to_patches
from tml_lab.course.checks_ch04 import (
    ch04_causal_conv,
    ch04_positions_held,
    ch04_relative_bias,
    ch04_sight,
    ch04_slot_of,
)
from tml_lab.course.checks_ch05 import (
    ch05_experts_gathered,
    ch05_experts_grouped,
    ch05_nudged,
    ch05_route_reference,
)
from tml_lab.course.checks_ch06 import ch06_follow, ch06_on_the_path, ch06_overlap_add, ch06_quantize_voice
from tml_lab.course.checks_ch07 import ch07_reply_turn, ch07_token_weights, ch07_weighted_cross_entropy
from tml_lab.course.checks_ch08 import ch08_framed, ch08_share_out
from tml_lab.course.checks_ch09 import ch09_merge, ch09_partial_softmax, ch09_split_bounds
from tml_lab.course.checks_ch10 import ch10_experts_triton, ch10_matmul_triton, ch10_rms_norm_triton
from tml_lab.course.checks_ch11 import ch11_fit_turn, ch11_panel_at, ch11_seconds_left
from tml_lab.course.checks_ch12 import ch12_overlap, ch12_pauc, ch12_takeover, ch12_utterances
from tml_lab.course.checks_ch13 import ch13_follow, ch13_is_speech
from tml_lab.course.checks_ch14 import ch14_cut_rows, ch14_lens_difference, ch14_pool, ch14_restored
from tml_lab.course.checks_ch15 import ch15_experts_touched, ch15_kept_bytes, ch15_passes
from tml_lab.course.checks_ch16 import ch16_minimal, ch16_next_arm, ch16_trade_off

__all__ = [
    "ch01_clock_digits",
    "ch01_played_span",
    "ch01_turn_hearing",
    "ch02_advance",
    "ch02_causal_frames",
    "ch02_quantize",
    "ch03_fold",
    "ch03_project",
    "ch03_turns_to_patches",
    "ch04_causal_conv",
    "ch04_positions_held",
    "ch04_relative_bias",
    "ch04_sight",
    "ch04_slot_of",
    "ch05_experts_gathered",
    "ch05_experts_grouped",
    "ch05_nudged",
    "ch05_route_reference",
    "ch06_follow",
    "ch06_on_the_path",
    "ch06_overlap_add",
    "ch06_quantize_voice",
    "ch07_reply_turn",
    "ch07_token_weights",
    "ch07_weighted_cross_entropy",
    "ch08_framed",
    "ch08_share_out",
    "ch09_merge",
    "ch09_partial_softmax",
    "ch09_split_bounds",
    "ch10_experts_triton",
    "ch10_matmul_triton",
    "ch10_rms_norm_triton",
    "ch11_fit_turn",
    "ch11_panel_at",
    "ch11_seconds_left",
    "ch12_overlap",
    "ch12_pauc",
    "ch12_takeover",
    "ch12_utterances",
    "ch13_follow",
    "ch13_is_speech",
    "ch14_cut_rows",
    "ch14_lens_difference",
    "ch14_pool",
    "ch14_restored",
    "ch15_experts_touched",
    "ch15_kept_bytes",
    "ch15_passes",
    "ch16_minimal",
    "ch16_next_arm",
    "ch16_trade_off",
]
