"""Solutions of chapter 12's exercises; each stands where the stub stood."""

from __future__ import annotations

import math

from tml_lab.bench.grading import UTTERANCE_GAP


def overlap(a, b):
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return shared / (max(a[1], b[1]) - min(a[0], b[0]))


def utterances(words, gap=UTTERANCE_GAP):
    groups = []
    end = -math.inf
    for word in sorted(words, key=lambda w: w.start):
        if word.start - end > gap + 1e-6:
            groups.append([])
        groups[-1].append(word)
        end = max(end, word.end)
    return groups


def takeover(words):
    if not words:
        return False
    return len(words) > 3 or max(w.end for w in words) - min(w.start for w in words) >= 1 - 1e-6


def pauc(span, replies):
    a, b = span
    edges = [a, *(a + (at - a) / 2 for at, _ in replies), b]
    heights = [0.5]
    for _, points in replies:
        heights.append(max(points, heights[-1] if len(heights) > 1 else 0))
    return sum(h * (edges[i + 1] - edges[i]) for i, h in enumerate(heights)) / (2 * (b - a))
