"""The usual tracks of a cache: words heard, attention, lens, router. Where it lacks something, it is said."""

from __future__ import annotations

from collections.abc import Callable

from tml_lab.interp.attention import attention_by
from tml_lab.interp.cache import Cache, InterpError
from tml_lab.interp.decision import decision_lens
from tml_lab.interp.hearing import words_heard
from tml_lab.interp.routing import routing
from tml_lab.plot.attention import attention_track
from tml_lab.plot.decision import lens_track
from tml_lab.plot.routing import routing_track
from tml_lab.plot.sound import heard_track
from tml_lab.plot.track import Track, check_turns
from tml_lab.stream.recording import Recording


def inside_tracks(
    recording: Recording, cache: Cache, which: tuple[str, ...] = ("words heard", "attention", "lens", "router")
) -> tuple[dict[str, Track], tuple[str, ...]]:
    """The tracks named, by their names, and for each that the cache lacks something for, a sentence.

    Raises ValueError when cache and recording are not of one length.
    """
    check_turns(recording, cache.turns, "the cache")
    makers: dict[str, Callable[[], Track]] = {
        "words heard": lambda: heard_track(recording, words_heard(cache)),
        "attention": lambda: attention_track(attention_by(cache, "stream")),
        "lens": lambda: lens_track(decision_lens(cache)),
        "router": lambda: routing_track(routing(cache, "turn").sel(layer=cache.model.cfg.n_layers - 1)),
    }
    tracks, left_out = {}, []
    for name in which:
        try:
            tracks[name] = makers[name]()
        except InterpError as error:
            left_out.append(f"{name}: {error}")
    return tracks, tuple(left_out)
