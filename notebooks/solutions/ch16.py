"""Solutions of chapter 16's exercises; each stands where the stub stood."""

from __future__ import annotations

import math


def trade_off(harmful, harmless):
    rows, left, right = [(math.inf, 0.0, 0.0)], 0, 0
    for score in sorted(set(harmful + harmless))[::-1]:
        left, right = left + harmful.count(score), right + harmless.count(score)
        rows.append((score, left / len(harmful), right / len(harmless)))
    return rows


def minimal(broken):
    kept = []
    for composition in sorted(broken, key=len):
        if not any(all(name in composition for name in other) for other in kept):
            kept.append(composition)
    return kept


def next_arm(tries, means, explore=0.5):
    total = sum(tries)
    return max(range(len(tries)), key=lambda i: (
        math.inf if not tries[i] else means[i] + explore * (math.log(total) / tries[i]) ** 0.5, -i))
