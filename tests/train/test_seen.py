"""Training on what is seen: scenes are kept, drawn and batched; a trained model's vocabulary grows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tml_lab.config import PRESETS, TRAIN_PRESETS, VIDEO_SIZE
from tml_lab.model.checkpoint import load_checkpoint, new_model, save_checkpoint
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.layout import Stream
from tml_lab.train.feed import Feed, collate, episode_layout, film_of
from tml_lab.train.grow import TABLES, grow, shrink, widen, with_eyes_of
from tml_lab.train.loop import open_trainer, train
from tml_lab.train.pictures import Film
from tml_lab.train.shards import Rendered, read_shard, render, write_shard
from tml_lab.worlds.curriculum import EASY_REQUESTS, REQUESTS, training_episode
from tml_lab.worlds.families.hearing import DICTATION
from tml_lab.worlds.reply_voice import reply_mel
from tml_lab.worlds.seen.actions import Span
from tml_lab.worlds.seen.film import SceneFilm, pictures
from tml_lab.worlds.seen.scene import Scene
from tml_lab.worlds.vocabulary import closed_world, heard_world, seen_world, world_of
from tml_lab.worlds.voices import VoiceBank

TOKENIZER = TextTokenizer.build(closed_world())


def shown(n: int, seed: int = 0) -> list[Rendered]:
    """A silent toy world: a ball that comes into view means `ball` in the turn after."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        at = int(rng.integers(2, 8))
        scene = Scene(rng)
        scene.thing("ball", "red", Span(0.2 * at, 9.0), 80, 60, size=25)
        said = [(at + 1 + k, "ball", k) for k in range(len(reply_mel("ball")) // 16)]
        mel = torch.full((12 * 4, 80), -5.0).half()
        found.append(Rendered("toy_seen", mel, [], said, [], scene.script(24)))
    return found


@pytest.fixture
def folder(scenes, tmp_path: Path) -> Path:
    path = tmp_path / "episodes"
    path.mkdir()
    write_shard(path / "episodes-00000.safetensors", [*shown(10), *scenes(10)])
    return path


def test_scenes_come_back_as_they_were(scenes, folder: Path) -> None:
    back = list(read_shard(folder / "episodes-00000.safetensors"))
    for was, now in zip([*shown(10), *scenes(10)], back, strict=True):
        assert (was.scene is None) == (now.scene is None) and was.family == now.family
        if was.scene and now.scene:
            assert np.array_equal(was.scene.shapes, now.scene.shapes) and was.scene.seed == now.scene.seed


def test_batches_hold_scenes_or_none_and_show_the_scene(folder: Path) -> None:
    feed = iter(Feed(folder, TOKENIZER, seed=1, budget=1024, camera_share=0.0))
    kinds = set()
    for batch, _ in zip(feed, range(8), strict=False):
        films = {type(film) for film in batch.films}
        kinds |= films or {None}
        assert len(films) <= 1
        drawn = batch.to(torch.device("cpu"))
        n_seen = int((drawn.tokens.stream == Stream.VIDEO_IN).sum())
        assert n_seen == (0 if drawn.tokens.patches is None else len(drawn.tokens.patches))
        assert batch.shape[0] * batch.shape[1] <= 1024
    assert kinds == {None, SceneFilm}


def test_a_request_is_predicted_word_by_word_and_sounds_nothing(folder: Path) -> None:
    asks = replace(shown(1)[0], scene=None, speaking=[], asking=[(3, "calculator two times three")])
    write_shard(folder / "episodes-00000.safetensors", [asks])
    back = next(iter(read_shard(folder / "episodes-00000.safetensors")))
    assert back.asking == asks.asking
    batch = collate([back], TOKENIZER, np.random.default_rng(0))
    at = int((batch.target == TOKENIZER.id("<delegate>")).nonzero())
    wanted = [TOKENIZER.id(w) for w in ("<delegate>", "calculator", "two", "times", "three", "<audio>")]
    assert batch.target[at : at + 6].tolist() == wanted
    assert batch.tokens.token[at + 1 : at + 6].tolist() == wanted[:5] and len(batch.voice_from) == 0
    assert int(batch.tokens.stream[at + 6]) == Stream.AUDIO_IN  # the next turn follows at once


def test_each_time_the_same_scene_is_seen_in_another_light(scenes) -> None:
    rng = np.random.default_rng(0)
    episode = shown(1)[0]
    first, second = film_of(episode, VIDEO_SIZE, rng), film_of(episode, VIDEO_SIZE, rng)
    assert isinstance(first, SceneFilm) and isinstance(second, SceneFilm) and episode.scene
    assert first.script.seed != second.script.seed and first.script.shapes is episode.scene.shapes
    assert isinstance(film_of(scenes(1)[0], VIDEO_SIZE, rng), Film)
    batch = collate([episode], TOKENIZER, np.random.default_rng(3), VIDEO_SIZE).to(torch.device("cpu"))
    assert batch.tokens.patches is not None and batch.tokens.patches.shape == (12 * 12, 2, 40, 40, 3)


def test_a_vocabulary_grows_and_the_old_words_are_not_touched() -> None:
    small = TextTokenizer.build(heard_world())
    torch.manual_seed(0)
    model = new_model("pico", small, seed=0)
    grown, larger = grow(model, small, closed_world())
    assert larger.names[: small.size] == small.names and set(closed_world()) <= set(larger.names)
    assert larger.size == grown.cfg.vocab_size == small.size + len(set(closed_world()) - set(heard_world()))
    before, after = model.state_dict(), grown.state_dict()
    for name, tensor in before.items():
        assert torch.equal(after[name][: len(tensor)] if name in TABLES else after[name], tensor), name
    assert not torch.equal(after["unembed.weight"][-1], after["unembed.weight"][-2])
    same, tokenizer = grow(grown, larger, closed_world())
    assert same is grown and tokenizer is larger
    hidden = torch.randn(3, PRESETS["pico"].d_model)
    ours = grown.text_logits(hidden)[:, : small.size]
    torch.testing.assert_close(ours, model.text_logits(hidden))  # a BLAS may add otherwise for another number of words


def test_a_longer_reach_changes_nothing_that_was_within_the_old_one() -> None:
    torch.manual_seed(0)
    tokenizer = TextTokenizer.build(heard_world())
    model = new_model("pico", tokenizer, seed=0)
    cfg = model.cfg
    wide = widen(model, 2 * cfg.window, 3 * cfg.rel_extent)
    assert wide.cfg == cfg.with_(window=2 * cfg.window, rel_extent=3 * cfg.rel_extent)
    x = torch.randn(1, cfg.window + 30, cfg.d_model)
    with torch.no_grad():
        before, after = model(x), wide(x)
    torch.testing.assert_close(after[:, : cfg.window], before[:, : cfg.window])
    assert not torch.allclose(after[:, cfg.window + 1 :], before[:, cfg.window + 1 :])  # more is seen there
    rel = wide.backbone.blocks[0].attn.rel  # type: ignore[union-attr]
    assert rel[:, cfg.window - 1 :].eq(rel[:, cfg.window - 1, None]).all()  # type: ignore[index]
    with pytest.raises(ValueError, match="can only be given more"):
        widen(wide, cfg.window, cfg.rel_extent)


def test_a_wider_model_can_be_lent_the_eyes_of_another() -> None:
    tokenizer = TextTokenizer.build(heard_world())
    wide, sees = new_model("nano", tokenizer, seed=0), new_model("pico", tokenizer, seed=1)
    lent = with_eyes_of(wide, sees)
    assert lent.cfg == wide.cfg.with_(hmlp_widths=sees.cfg.hmlp_widths)
    patches = torch.randn(5, 2, 40, 40, 3)
    with torch.no_grad():
        shown, seen = lent.embed_video(patches), sees.embed_video(patches)  # [5, 256], [5, 64]
    near = torch.nn.functional.cosine_similarity(shown[:, :64], seen, dim=-1)
    torch.testing.assert_close(near, torch.ones(5))  # what it was told; each later quarter is that, turned
    for part in shown.split(64, dim=1):
        torch.testing.assert_close(part.norm(dim=1), shown[:, :64].norm(dim=1))
    assert not torch.allclose(shown[:, :64], shown[:, 64:128])
    after = lent.state_dict()
    rest = {name: tensor for name, tensor in wide.state_dict().items() if not name.startswith("embed_video.")}
    assert all(torch.equal(after[name], tensor) for name, tensor in rest.items())
    with pytest.raises(ValueError, match="do not fit into one 64 wide"):
        with_eyes_of(sees, wide)


def test_eyes_are_lent_to_a_trained_model_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name one with init"):
        train("pico", tmp_path, eyes="pico-eyes")


def test_words_that_were_never_used_can_be_left_out() -> None:
    every = TextTokenizer.build(closed_world())
    model = new_model("pico", every, seed=0)
    small, tokenizer = shrink(model, every, seen_world())
    assert {"star", "careful", "left"} <= set(tokenizer.names) and "calculator" not in tokenizer.names
    rows = [every.id(name) for name in tokenizer.names]
    before, after = model.state_dict(), small.state_dict()
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name][rows] if name in TABLES else before[name]), name
    with pytest.raises(KeyError, match="zebra"):
        shrink(model, every, ["zebra"])


def test_who_only_learns_to_see_needs_few_words(tmp_path: Path) -> None:
    cfg = replace(TRAIN_PRESETS["pico_eyes"], n_episodes=8)
    assert world_of(["first_sight"]) == seen_world() and set(seen_world()) < set(seen_world(further=True))
    assert world_of(["glimpses", "first_sight", "second_sight"]) == seen_world(further=True)
    assert world_of(["glimpses", "typed_sight"]) == seen_world(further=True)
    assert world_of(["easy_requests", "requests"]) == seen_world(further=True)
    assert world_of(["first_sight", "all"]) == closed_world()
    trainer = open_trainer("pico_eyes", tmp_path, ((tmp_path, 1.0),), cfg, False, "cpu")
    assert trainer.tokenizer.names == TextTokenizer.build(seen_world(further=True)).names
    assert "sight" in trainer.heads


def test_a_run_that_goes_on_from_older_weights_learns_the_new_words(folder: Path, tmp_path: Path) -> None:
    small = TextTokenizer.build(heard_world())
    save_checkpoint(tmp_path / "old", new_model("pico", small, seed=0), small, {})
    train("pico", tmp_path / "new", episodes=folder, steps=2, init=str(tmp_path / "old"))
    train("pico", tmp_path / "new", episodes=folder, steps=3, init=str(tmp_path / "old"))  # and it is taken up again
    _, tokenizer = load_checkpoint(tmp_path / "new")
    assert tokenizer.id("triangle") >= small.size
    assert len((tmp_path / "new" / "log.jsonl").read_text().splitlines()) == 3


def test_what_is_seen_reaches_the_decision() -> None:
    """Nothing is heard: only the picture differs, from the frame on in which the ball comes into view."""
    torch.manual_seed(0)
    model = new_model("pico", TOKENIZER, seed=0).eval()
    episode = shown(1)[0]
    assert episode.scene is not None
    blind = replace(episode, scene=replace(episode.scene, shapes=episode.scene.shapes[:, :0]))
    hidden = []
    for one in (episode, blind):
        batch = collate([one], TOKENIZER, np.random.default_rng(3), VIDEO_SIZE).to(torch.device("cpu"))
        with torch.no_grad():
            hidden.append(model(model.embed(batch.tokens).view(*batch.shape, -1))[0])
    whole = len(episode_layout(episode, TOKENIZER, 0, seen=12)[0].stream)  # the rest of the row is padding
    turn = (batch.tokens.turn - batch.tokens.turn[0])[:whole]
    differs = (hidden[0] != hidden[1]).any(-1)[:whole]
    came = episode.speaking[0][0] - 1  # the turn in which it came into view
    assert not differs[turn < came].any() and differs[turn >= came].any()


def test_all_that_the_second_lesson_asks_and_answers_is_in_its_few_words() -> None:
    bank, tokenizer = VoiceBank.open("train", quiet=True), TextTokenizer.build(seen_world(further=True))
    written = [training_episode(seed, bank, "typed_sight") for seed in range(40)]
    assert all(scene.typed or scene.family == "watch" for scene in written)
    scenes = [training_episode(seed, bank, "second_sight") for seed in range(120)]
    said = {word for scene in scenes for word, _ in scene.speaking.values()}
    asked = [*(text for scene in scenes for _, text in scene.typed)]
    asked += [s.text for scene in scenes if scene.family == DICTATION for s in scene.segments if s.role == "user"]
    assert said <= set(tokenizer.names) and {word for text in asked for word in text.split()} <= set(tokenizer.names)
    requests = [scene for scene in scenes if scene.family == DICTATION]
    assert requests and all(scene.scene is None and not scene.speaking for scene in requests)
    assert all(len(scene.segments) >= 3 for scene in requests)
    for lesson in (EASY_REQUESTS, REQUESTS):
        dictated = [training_episode(seed, bank, lesson) for seed in range(40)]
        assert all(scene.family == DICTATION and scene.scene is None and not scene.typed for scene in dictated)
    typed = [bool(scene.typed) for scene in scenes if scene.family not in (DICTATION, "watch")]
    assert 0.3 < np.mean(typed) < 0.7


def test_where_seeing_begins_it_is_quiet_and_half_of_the_walls_are_plain(tmp_path: Path) -> None:
    bank = VoiceBank.open("train", quiet=True)
    scenes = [training_episode(seed, bank, "first_sight") for seed in range(40)]
    assert all(scene.scene is not None for scene in scenes)
    plain = [scene for scene in scenes if scene.scene and scene.scene.plain]
    assert 10 < len(plain) < 30 and all(scene.typed or "watch" in scene.family for scene in scenes)
    asked = [len([s for s in scene.segments if s.role == "user"]) + len(scene.typed) for scene in scenes]
    assert np.median(asked) <= 2  # a request, or two questions, and no talk
    rendered = [render(scene) for scene in scenes[:6]]
    write_shard(tmp_path / "a.safetensors", rendered)
    back = [e.scene.plain for e in read_shard(tmp_path / "a.safetensors") if e.scene]
    assert back == [scene.scene.plain for scene in scenes[:6] if scene.scene]
    script = plain[0].scene
    assert script is not None
    film = pictures(replace(script, shapes=script.shapes[:2] * 0), VIDEO_SIZE).float()
    assert film.std((1, 2)).max() < 5  # but for its grain one colour
