"""The tiny speaking model of the session's tests, also for the server's."""

from tests.stream.conftest import model, run, sound, tokenizer

__all__ = ["model", "run", "sound", "tokenizer"]
