"""`play`: every input gives an answer or one clear sentence, and the results agree with each other."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console

from tests.background.test_words_told import Asked, words_of
from tml_lab.background.colleague import with_colleague
from tml_lab.background.told import told
from tml_lab.config import TURN_SAMPLES
from tml_lab.interp.cache import run_with_cache
from tml_lab.interp.hearing import words_heard
from tml_lab.model.checkpoint import load_checkpoint, new_model, save_checkpoint
from tml_lab.model.text import TextTokenizer
from tml_lab.play import PlayError, _report, _write_words, parse_typed, play
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Random pico weights, saved as a checkpoint, that speak in some turns."""
    tokenizer = TextTokenizer.build(("one", "two", "three", "stop"))
    model = new_model("pico", tokenizer, seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.startswith(("vocoder", "flow")) and weight.abs().max() == 0:
                weight.normal_(std=0.3, generator=generator)
        model.unembed.weight[[tokenizer.id("<delegate>"), tokenizer.id("<tool>")]] = 0
        opposite = 40 * model.unembed.weight[tokenizer.id("<speak>")]  # one of the two is always above zero
        model.unembed.weight[[tokenizer.id("<speak>"), tokenizer.id("<silent>")]] = torch.stack(
            [opposite, -opposite]
        )
    folder = tmp_path_factory.mktemp("pico")
    save_checkpoint(folder, model, tokenizer, {})
    return folder


@pytest.fixture
def quiet():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def speech(tmp_path):
    rng = np.random.default_rng(0)
    level = np.repeat(10.0 ** rng.uniform(-4, -0.3, 3 * 10), 800)[:, None]  # bursts of 0.1 s
    soundfile.write(tmp_path / "in.wav", level * rng.uniform(-1, 1, (8000 * 3, 2)), 8000)
    return tmp_path / "in.wav"


def test_results_agree(checkpoint, speech, quiet, tmp_path):
    out = tmp_path / "out"
    recording = play(
        speech, out, text=["0.5: stop", (0.55, "one")], checkpoint=checkpoint, tail=1.0, console=quiet
    )
    assert recording.turns == 15 + 5 and not recording.inputs.audio[15 * TURN_SAMPLES :].any()
    assert recording.inputs.typed == ((2, "stop one"),)
    assert "<speak>" in recording.decisions

    voice, rate = soundfile.read(out / "output.wav", dtype="float32")
    assert rate == 16000 and len(voice) == (recording.turns + 1) * TURN_SAMPLES
    np.testing.assert_allclose(voice, np.clip(recording.played_audio(), -1, 1), atol=2 / 32768)

    words = json.loads((out / "output.json").read_text())
    assert words["text"] == recording.text
    assert [chunk["text"] for chunk in words["chunks"]] == [word for word, _, _ in recording.said()]
    for chunk, (_, start, end) in zip(words["chunks"], recording.said(), strict=True):
        assert chunk["timestamp"] == [pytest.approx(start), pytest.approx(end)]

    again = replay(Recording.load(out / "recording"), *load_checkpoint(checkpoint))
    assert differences(again, recording) == []

    page = (out / "timeline.html").read_text()
    assert (
        "http" not in page.replace("http-equiv", "") and "<script src" not in page
    )  # nothing from the network
    assert "{{" not in page and '"name":"attention L' in page
    assert "x real time" in quiet.file.getvalue()


def test_a_colleague_answers_and_what_it_draws_is_kept(checkpoint, speech, quiet, tmp_path, monkeypatch):
    """The shipped model was not trained to ask: here one is told to."""
    model, tokenizer = load_checkpoint(checkpoint)
    asking = told(model, tokenizer, {2: "table one three", 5: "kitchen", 6: "timer two minutes"}, silent=True)
    monkeypatch.setattr("tml_lab.play.load_checkpoint", lambda *_: (asking, tokenizer))
    out = tmp_path / "out"
    recording = play(speech, out, text=["0.7: stop"], colleague=True, console=quiet, checkpoint=checkpoint)
    typed = " ".join(text for _, text in recording.inputs.typed)
    assert recording.inputs.typed[0] == (3, "stop table done") and "kitchen failed" in typed and "timer done" in typed
    written = json.loads((out / "output.json").read_text())
    assert [(task["tool"], task["status"]) for task in written["requests"]] == [("table", "done"), ("timer", "done")]
    assert [(change["turn"], change["put"]["kind"]) for change in written["panel"]] == [(3, "table"), (7, "timer")]
    assert written["panel"] == list(recording.panel) == list(Recording.load(out / "recording").panel)
    page = (out / "timeline.html").read_text()
    assert "<td>0.8 s</td><td>Table table: 1 rows of what, how many.</td>" in page and "asked: table one" in page
    assert recording.requests()[0] == (2, "table one three")  # a word that this vocabulary spells, and two whole ones
    again = replay(Recording.load(out / "recording"), asking, tokenizer)
    assert differences(again, recording) == [] and again.panel == recording.panel
    plain = play(speech, tmp_path / "plain", console=quiet, checkpoint=checkpoint)
    assert plain.panel == () and set(json.loads((tmp_path / "plain" / "output.json").read_text())) == {"text", "chunks"}


def test_a_colleague_that_is_told_the_conversation_is_told_the_words_heard(
    checkpoint, speech, quiet, tmp_path, monkeypatch
):
    model, tokenizer = load_checkpoint(checkpoint)
    asking = told(model, tokenizer, {12: "ask one"}, silent=True)
    asked = Asked("one")
    monkeypatch.setattr("tml_lab.play.load_checkpoint", lambda *_: (asking, tokenizer))
    monkeypatch.setattr("tml_lab.play.with_colleague", lambda session: with_colleague(session, [asked]))
    recording = play(speech, tmp_path / "out", text=["0.7: stop"], colleague=True, console=quiet, checkpoint=checkpoint)
    heard = words_heard(run_with_cache(asking, tokenizer, recording))  # the same, read offline
    expected = [(turn, word) for turn, words in enumerate(heard[:13]) for word in words]
    assert expected and words_of(asked.package) == expected


def test_shortest_input(checkpoint, quiet, tmp_path):
    soundfile.write(tmp_path / "one.wav", np.array([0.1]), 16000)
    recording = play(
        tmp_path / "one.wav", tmp_path / "out", checkpoint=checkpoint, tail=0, attention=None, console=quiet
    )
    assert recording.turns == 1 and recording.attention is None


def test_truncated_input_is_noted(checkpoint, quiet, tmp_path):
    soundfile.write(tmp_path / "cut.wav", np.zeros(48000), 48000, subtype="FLOAT")
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:60_000])
    play(tmp_path / "cut.wav", tmp_path / "out", checkpoint=checkpoint, tail=0.2, console=quiet)
    assert "note: cut.wav is cut off" in quiet.file.getvalue()


def test_interrupted_play_leaves_a_whole_recording(checkpoint, speech, quiet, tmp_path, monkeypatch):
    from tml_lab.stream.session import Session

    step = Session.step

    def stop_at_four(session, *args):
        if session.turn == 4:
            raise KeyboardInterrupt
        return step(session, *args)

    monkeypatch.setattr(Session, "step", stop_at_four)
    with pytest.raises(KeyboardInterrupt):
        play(speech, tmp_path / "out", checkpoint=checkpoint, console=quiet)
    monkeypatch.undo()
    stopped = Recording.load(tmp_path / "out" / "recording")
    assert stopped.turns == 4
    assert differences(stopped, replay(stopped, *load_checkpoint(checkpoint))) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"input": "empty.wav"}, "empty file"),
        ({"input": "text.wav"}, "cannot be read as sound"),
        ({"input": "missing.wav"}, "no sound file"),
        ({"out": "text.wav"}, "cannot write into"),
        ({"out": "text.wav/deeper"}, "cannot write into"),
        ({"checkpoint": "nowhere"}, "checkpoint"),
        ({"device": "gpu9"}, "use cpu or cuda"),
        ({"text": ["stop"]}, "SECONDS: words"),
        ({"text": ["99: stop"]}, "after the end"),
        ({"attention": "first"}, "L5H0"),
        ({"attention": "L7H0"}, r"layers 0\.\.2"),
        ({"tail": -1.0}, "tail"),
        ({"video": "missing.mp4"}, "no video file"),
        ({"video": "text.wav"}, "cannot be read as video"),
    ],
)
def test_one_sentence(change, says, checkpoint, speech, quiet, tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is no sound")
    asked = {"input": speech, "out": tmp_path / "out", "checkpoint": checkpoint, "tail": 0.0, **change}
    for name in ("input", "out", "video"):
        if name in change:
            asked[name] = tmp_path / change[name]
    with pytest.raises(ValueError, match=says) as caught:
        play(**asked, console=quiet)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "output.wav").exists()


@pytest.mark.parametrize(
    "entry", ["", "3", "3:", ":words", "x: words", "-1: words", "nan: words", "inf: words"]
)
def test_typed_words_that_cannot_be_read(entry):
    with pytest.raises(PlayError, match="SECONDS: words"):
        parse_typed(entry)
    assert parse_typed("2.5: repeat: all ") == (2.5, "repeat: all")


def test_gaps_are_told(checkpoint, quiet, tmp_path):
    model, tokenizer = load_checkpoint(checkpoint)
    session = Session(model, tokenizer)
    for n in range(8):
        session.step(None if n in (2, 3, 6) else np.full(TURN_SAMPLES, 0.1, np.float32))
    _write_words(session.recording(), tmp_path, None)
    assert json.loads((tmp_path / "output.json").read_text())["gaps"] == [[0.4, 0.8], [1.2, 1.4]]
    source = SimpleNamespace(notes=[])
    _report(session.recording(), source, 1.0, tmp_path, quiet)
    assert "not heard: 0.6 s in 2 places: 0.4 to 0.8 s, 1.2 to 1.4 s" in quiet.file.getvalue()
