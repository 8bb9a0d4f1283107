"""Training for a bad line and a loudspeaker: chunks that never came, pictures that were lost, one's own voice.

What a session meets in its stream (`tml_lab.serve.catch_up`) is put into an episode here:

    gap       a turn in which nothing was heard: its sound is silence
    skipped   a turn that was not run at all: the turn numbers go on, the sequence has no positions of it
    unseen    a turn without its pictures
    leak      the model's own voice comes back out of the room, late and weaker: it is not to be answered

The script stays where it was, on the world's clock: what is due in a gap is said in it. What could not be heard is
asked of nobody: from a damaged sentence on the turns are `excused`, and carry no loss.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import oaconvolve

from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES, TURN_SECONDS
from tml_lab.worlds.augment import room_response
from tml_lab.worlds.reply_voice import reply_audio
from tml_lab.worlds.stage import Episode

GUESSABLE = 0.4  # share of a sentence that may be lost, and it is still asked for: masks in time teach to guess
MAX_SKIP = 2  # turns in a row: `tml_lab.serve.catch_up.Rule.bridge`
LONG = (3, 26)  # turns of a long gap


@dataclass(frozen=True)
class Spoiling:
    """How much is spoiled. All are shares of the episodes, and within those, drawn up to `losses`, of the turns.

    Args:
        lossy: episodes with single chunks lost (as gaps or skipped); losses: the most of their turns that are.
        broken: episodes with one long gap, where nobody speaks if there is room.
        blind: episodes with pictures lost, up to `losses` of them.
        leaky: episodes in which the own voice comes back; leak_db: by so many decibels weaker.
    """

    lossy: float = 0.25
    losses: float = 0.2
    broken: float = 0.15
    blind: float = 0.25
    leaky: float = 0.4
    leak_db: tuple[float, float] = (-30.0, -4.0)


class Room:
    """A loudspeaker, a room and a microphone, turn by turn: what is played now is heard a little later.

    Args:
        gain_db: of the voice as it arrives (energy over the whole response) over the voice as it was played.
        delay: seconds of the way; None: 0.1 to 0.3.
    """

    def __init__(self, rng: np.random.Generator, gain_db: float, delay: float | None = None) -> None:
        late = round((rng.uniform(0.1, 0.3) if delay is None else delay) * SAMPLE_RATE)
        room = room_response(rng, float(rng.uniform(0.15, 0.6)), float(rng.uniform(-3.0, 10.0)))
        self.response = np.pad(room * 10 ** (gain_db / 20), (late, 0)).astype(np.float32)  # [late + room]
        self._coming = np.zeros(TURN_SAMPLES + len(self.response), np.float32)  # from the turn that plays next on

    def played(self, sound: np.ndarray) -> None:
        """A turn's sound, float32 [3200], is played while the next turn is heard."""
        whole = oaconvolve(sound, self.response)  # [3200 + late + room - 1]
        self._coming[: len(whole)] += whole

    def heard(self) -> np.ndarray:
        """What comes back in this turn, float32 [3200]; time moves on by one turn."""
        now, later = self._coming[:TURN_SAMPLES].copy(), self._coming[TURN_SAMPLES:]
        self._coming = np.pad(later, (0, TURN_SAMPLES))
        return now


def echo(own: np.ndarray, room: Room) -> np.ndarray:
    """What comes back of one's own voice, float32 [n] -> float32 [n], both on the played clock."""
    return oaconvolve(own, room.response)[: len(own)].astype(np.float32)


def own_voice(episode: Episode) -> np.ndarray:
    """The script as it sounds: float32 [turns * 3200]; turn n's word is played in turn n + 1."""
    sound = np.zeros((episode.n_turns + 1, TURN_SAMPLES), np.float32)
    for turn, (word, k) in episode.speaking.items():
        sound[turn + 1] = reply_audio(word)[k * TURN_SAMPLES : (k + 1) * TURN_SAMPLES]
    return sound[: episode.n_turns].reshape(-1)


def leak(episode: Episode, rng: np.random.Generator, gain_db: float) -> Episode:
    """The same episode through a loudspeaker beside the microphone; nothing else is said because of it."""
    heard = episode.audio + echo(own_voice(episode), Room(rng, gain_db))
    return replace(episode, audio=np.clip(heard, -1, 1).astype(np.float32))


def spoil(episode: Episode, rng: np.random.Generator, how: Spoiling) -> Episode:
    """An episode over a bad line, by chance; the same for the same generator."""
    lossy, broken, blind, leaky = rng.uniform(size=4) < (how.lossy, how.broken, how.blind, how.leaky)
    if leaky:
        episode = leak(episode, rng, float(rng.uniform(*how.leak_db)))
    gaps, skipped = set[int](), set[int]()
    if lossy:
        gaps, skipped = _losses(episode, rng, float(rng.uniform(0.02, how.losses)))
    if broken:
        gaps |= _long_gap(episode, rng)
    unseen = set[int]()
    if blind and episode.scene is not None:
        unseen = set(np.flatnonzero(rng.uniform(size=episode.n_turns) < rng.uniform(0.02, how.losses)).tolist())
    return without(episode, gaps - skipped, skipped, unseen | gaps)


def without(episode: Episode, gaps: set[int], skipped: set[int], unseen: set[int]) -> Episode:
    """The episode with these turns' sound, all of these turns, and these turns' pictures lost.

    Raises ValueError for a turn that cannot be skipped, since something is read, said or asked in it.
    """
    if busy := sorted(skipped & _busy(episode)):
        raise ValueError(f"turn {busy[0]} cannot be skipped: something is read, said or asked in it.")
    turns = episode.audio.reshape(-1, TURN_SAMPLES).copy()
    turns[sorted(gaps | skipped)] = 0.0
    excused = _excused(episode, gaps | skipped)
    return replace(
        episode, audio=turns.reshape(-1), gaps=sorted(gaps), skipped=sorted(skipped), unseen=sorted(unseen - skipped),
        excused_from=excused,
    )  # fmt: skip


def _busy(episode: Episode) -> set[int]:
    """Turns in which something is read, said or asked, and the first one."""
    told = [turn for turn, _ in (*episode.typed, *episode.results, *episode.requests)]
    return {0, *told, *episode.speaking}


def _losses(episode: Episode, rng: np.random.Generator, share: float) -> tuple[set[int], set[int]]:
    """Single chunks lost: `(gaps, skipped)`. They are skipped as a rule, where the script lets them."""
    lost = set(np.flatnonzero(rng.uniform(size=episode.n_turns) < share).tolist())
    may_skip = lost - _busy(episode) if rng.uniform() < 0.75 else set[int]()
    skipped = {
        turn for turn in may_skip if not set(range(turn - MAX_SKIP, turn)) <= may_skip  # no long runs of them
    }
    return lost - skipped, skipped


def _long_gap(episode: Episode, rng: np.random.Generator) -> set[int]:
    """One long gap, preferably where nobody says anything: what is due must come all the same."""
    n = int(rng.integers(*LONG))
    starts = range(1, max(2, episode.n_turns - n))
    quiet = [start for start in starts if not _heard_in(episode, start, start + n)]
    start = int(rng.choice(quiet if quiet and rng.uniform() < 0.8 else list(starts)))
    return set(range(start, min(start + n, episode.n_turns)))


def _heard_in(episode: Episode, first: int, end: int) -> bool:
    return any(s.start < end * TURN_SECONDS and s.end > first * TURN_SECONDS for s in episode.segments)


def _excused(episode: Episode, lost: set[int]) -> int | None:
    """The first turn that nobody can be blamed for: where so much of a sentence is lost that it is anybody's guess."""
    found = []
    for segment in episode.segments:
        if segment.role != "user":
            continue
        gone = sum(
            max(0.0, min(segment.end, (turn + 1) * TURN_SECONDS) - max(segment.start, turn * TURN_SECONDS))
            for turn in lost
        )
        if gone > GUESSABLE * (segment.end - segment.start):
            found.append(int(segment.start / TURN_SECONDS))
    return min(found, default=None)
