"""CueSpeak and TimeSpeak over a bad line: each item with chunks late or lost, beside itself undisturbed.

Two rules are compared in the same run: the session's own (`tml_lab.serve.catch_up`: lost chunks are turns, the clock
keeps the world's time), and the one before it, by which a chunk that does not come makes the clock stand still.

    tml bench late --items 12
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from tml_lab.bench import cuespeak, timespeak
from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, bootstrap, grade_item, inside, utterances, window
from tml_lab.bench.over_line import Keeper, StandStill, live_through
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.catch_up import CatchUp, Rule
from tml_lab.serve.faults import Delay, Fault, FaultPlan, Freeze, Loss, Stall
from tml_lab.worlds.stage import Episode

FAULTS: dict[str, Callable[[int], tuple[Fault, ...]]] = {  # of an item's number
    "5 % late": lambda i: (Delay(share=0.05),),
    "20 % late": lambda i: (Delay(share=0.2),),
    "5 % lost": lambda i: (Loss(share=0.05),),
    "20 % lost": lambda i: (Loss(share=0.2),),
    "3 s stall": lambda i: (Stall(at=3.0 + i % 5, seconds=3.0),),
    "3 s frozen": lambda i: (Freeze(at=3.0 + i % 5, seconds=3.0),),
}
RULES: dict[str, Callable[[], Keeper]] = {
    "": CatchUp,
    ", each a gap": partial(CatchUp, Rule(bridge=0)),
    ", each bridged": partial(CatchUp, Rule(spare=0)),
    ", clock stands still": StandStill,
}
LOOSE = ("5 % lost", "20 % lost")  # where gaps and bridges differ


class LinePlayer:
    """The model over a line: one plan of faults for each item, the same for every rule."""

    def __init__(
        self, model: InteractionModel, tokenizer: TextTokenizer, name: str,
        faults: Callable[[int], tuple[Fault, ...]], keeper: Callable[[], Keeper],
    ) -> None:  # fmt: skip
        self.model, self.tokenizer, self.name, self.faults, self.keeper = model, tokenizer, name, faults, keeper

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        """One log per episode, by the world's clock."""
        plans = [FaultPlan(seed=i, faults=self.faults(i)) for i in range(len(episodes))]
        return [
            live_through(self.model, self.tokenizer, item, plan, self.keeper()).log
            for item, plan in zip(episodes, plans, strict=True)
        ]


def players(model: InteractionModel, tokenizer: TextTokenizer) -> list[LinePlayer]:
    """Undisturbed, and every fault under every rule that makes a difference for it."""
    found = [LinePlayer(model, tokenizer, "no faults", lambda i: (), CatchUp)]
    for fault, faults in FAULTS.items():
        for rule, keeper in RULES.items():
            if "each" not in rule or fault in LOOSE:
                found.append(LinePlayer(model, tokenizer, fault + rule, faults, keeper))
    return found


def false_starts(item: Episode, log: Emissions) -> int:
    """Utterances that begin where nothing was due: neither in a window, nor behind a word that began in one."""
    windows = [window(expect) for expect in item.expects]
    return sum(not any(inside(said[0].start, span) for span in windows) for said in utterances(log.spoken()))


def beside_itself(
    episodes: Sequence[Episode], logs: Sequence[Emissions], first: Sequence[Emissions], seed: int
) -> dict[str, Estimate]:
    """What the line made of each item: how much `met` and false starts per item changed, paired."""
    met, starts = [], []
    for item, log, whole in zip(episodes, logs, first, strict=True):
        one, other = (grade_item(item.expects, some.spoken()).met for some in (log, whole))
        met.append(one - other)
        starts.append(float(false_starts(item, log) - false_starts(item, whole)))
    return {"met_change": bootstrap(met, seed), "false_starts_change": bootstrap(starts, seed)}


def over_lines(benchmark: Benchmark) -> Benchmark:
    """A benchmark over bad lines, on the same items."""
    name, title = f"{benchmark.name}_late", f"{benchmark.title}, chunks late or lost"
    return replace(
        benchmark, name=name, title=title, goals={}, anchors={}, rows=players, paired=beside_itself
    )  # fmt: skip


CUESPEAK, TIMESPEAK = over_lines(cuespeak.BENCHMARK), over_lines(timespeak.BENCHMARK)
