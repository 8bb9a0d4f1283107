"""Every way to ask for something that has to be seen, spoken or typed; the first of each is the plainest."""

from __future__ import annotations

SEEN_WORDINGS: dict[str, tuple[str, ...]] = {
    "count_actions": ("count the {x} you see", "count all the {x}", "count every one of the {x}"),
    "start_stop": (
        "say start and stop when somebody {x}", "say start when somebody {x} and stop at the end",
        "tell me the start and the stop when somebody {x}",
    ),
    "what_appears": ("tell me what appears", "say what you see when something appears", "tell me what comes into view"),
    "new_colour": (
        "tell me when the colour changes", "say the new colour when it changes", "tell me every new colour you see",
    ),
    "warn": ("warn me when you see a {x}", "say careful when you see a {x}", "warn me when a {x} appears"),
    "read": ("read what you see", "read every word you see", "read out loud what is written"),
    "which_way": (
        "tell me which way the {x} goes", "say which way the {x} moves", "tell me where the {x} goes",
    ),
    "how_long_seen": ("how long did somebody {x}", "for how many seconds did somebody {x}"),
    "seen_colour": ("what colour is the {x}", "tell me what colour the {x} is", "which colour is the {x}"),
    "seen_thing": ("what is {x}", "tell me what is {x}", "which thing is {x}"),
    "how_many": ("how many {x} do you see", "tell me how many {x} you see", "how many {x} are there"),
    "where": ("where is the {x}", "tell me where the {x} is", "on which side is the {x}"),
    "colour_before": ("what colour was the {x}", "tell me what colour the {x} was", "which colour was the {x}"),
}  # fmt: skip

COUNTED = {
    "push up": "push ups", "squat": "squats", "jumping jack": "jumping jacks", "wave": "waves", "clap": "claps",
    "raised hand": "raised hands", "jump": "jumps", "kick": "kicks", "punch": "punches",
}  # fmt: skip
DOES = {
    "push up": "does push ups", "squat": "does squats", "jumping jack": "does jumping jacks", "wave": "waves",
    "clap": "claps", "raised hand": "raises a hand", "jump": "jumps", "kick": "kicks", "punch": "punches",
}  # fmt: skip
DO = {"wave": "wave", "clap": "clap", "raised hand": "raise a hand"}  # what is kept up for a while
MANY = {"ball": "balls", "square": "squares", "triangle": "triangles", "star": "stars"}


def words_of_seen_wordings() -> set[str]:
    """Every whole word of these requests, with all that can stand in their places."""
    texts = [wording.replace("{x}", " ") for group in SEEN_WORDINGS.values() for wording in group]
    fillings = [*COUNTED.values(), *DOES.values(), *DO.values(), *MANY.values(), "things"]
    return {word for text in (*texts, *fillings) for word in text.split()}
