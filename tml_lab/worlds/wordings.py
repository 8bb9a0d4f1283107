"""Every way an instruction or a question can be put, spoken or typed. `{n}` and the like are filled by the family.

The first wording of each is the one shown in `data/understands.md`.
"""

from __future__ import annotations

import re

WORDINGS: dict[str, tuple[str, ...]] = {
    "repeat_numbers": (
        "repeat every number you hear", "repeat all the numbers you hear", "say every number that i say",
        "repeat each number",
    ),
    "next_number": (
        "say the next number after every number you hear", "say the next number after each number",
        "after every number say the next one", "add one to every number you hear",
    ),
    "opposite": (
        "say the opposite of every word you hear", "say the opposite of each word",
        "give me the opposite of every word",
    ),
    "to_english": (
        "translate every spanish word you hear into english", "say every spanish word in english",
        "translate the spanish words",
    ),
    "to_spanish": (
        "translate every english number you hear into spanish", "say every number in spanish",
        "translate the numbers into spanish",
    ),
    "remind": ("remind me in {n} seconds", "give me a reminder in {n} seconds", "in {n} seconds remind me"),
    "tick": ("say tick every {n} seconds until i say stop", "say tick every {n} seconds", "tick every {n} seconds"),
    "how_long": ("how long did i talk", "how long was i talking", "for how many seconds did i talk"),
    "plus": ("what is {a} plus {b}", "how much is {a} plus {b}", "{a} plus {b} is what"),
    "minus": ("what is {a} minus {b}", "how much is {a} minus {b}", "{a} minus {b} is what"),
    "colour": ("what colour is {x}", "tell me what colour is {x}", "which colour is {x}"),
    "opposite_of": ("what is the opposite of {x}", "tell me the opposite of {x}", "which word is the opposite of {x}"),
    "day_after": ("what day comes after {x}", "which day comes after {x}", "which day is after {x}"),
    "day_before": ("what day comes before {x}", "which day comes before {x}", "which day is before {x}"),
    "my_name_is": ("my name is {x}", "i am called {x}", "you can call me {x}"),
    "what_name": ("what is my name", "do you know my name", "tell me my name"),
    "repeat_after": ("repeat after me", "say after me", "please repeat"),
    "count": ("count from one to ten", "please count to ten", "count up to ten"),
    "days": ("say the days of the week", "tell me the days of the week", "list the days of the week"),
    "stop": ("stop", "stop now", "please stop"),
    "story": ("let me tell you a story", "i want to tell you a story", "listen to my story"),
}

PRAISE = ("thank you", "very good", "great", "nice")  # said after an answer; nothing is to be answered
ADDRESSED = ("{who} {q}", "hey {who} {q}", "listen {who} {q}")  # talk to somebody else
ASIDES = (
    "can you bring me the bread", "where did you put the keys", "please close the window", "dinner is ready",
    "come here for a moment", "did you call the office", "we have to leave soon",
)
BACKCHANNELS_OF_USER = ("yeah", "okay", "right", "good", "nice")


def words_of_wordings() -> set[str]:
    """Every whole word that occurs in the wordings and asides, slots left out."""
    texts = [w for group in WORDINGS.values() for w in group] + list(PRAISE + ADDRESSED + ASIDES + BACKCHANNELS_OF_USER)
    return {word for text in texts for word in re.sub(r"\{.*?\}", " ", text).split()}
