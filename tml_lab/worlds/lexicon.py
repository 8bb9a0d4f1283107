"""The closed world's words: what the nano can hear, what it can say, and what each word means to it."""

from __future__ import annotations

UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
TEENS = (
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)
NUMBERS = UNITS + TEENS  # index = value, zero..twenty

OPPOSITES_PAIRS = (
    ("hot", "cold"), ("big", "small"), ("up", "down"), ("left", "right"), ("open", "closed"), ("day", "night"),
    ("fast", "slow"), ("old", "young"), ("happy", "sad"), ("black", "white"), ("yes", "no"), ("in", "out"),
    ("high", "low"), ("long", "short"), ("light", "dark"), ("good", "bad"), ("wet", "dry"), ("loud", "quiet"),
    ("full", "empty"), ("hard", "soft"), ("early", "late"), ("rich", "poor"), ("strong", "weak"), ("first", "last"),
)
OPPOSITES = dict(OPPOSITES_PAIRS) | {b: a for a, b in OPPOSITES_PAIRS}

COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "orange", "pink")
COLOUR_OF = {
    "grass": "green", "snow": "white", "blood": "red", "coal": "black", "milk": "white", "the sky": "blue",
    "a banana": "yellow", "a lemon": "yellow", "a tomato": "red", "chocolate": "brown", "a carrot": "orange",
    "a pig": "pink", "a leaf": "green", "the sun": "yellow", "the sea": "blue",
}

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NAMES = ("anna", "tom", "maria", "peter", "lucy", "george", "sara", "david", "emma", "jack")
OTHERS = ("mother", "doctor", "robert", "helen", "honey", "frank", "kate", "simon")  # people who are not the model

SPANISH = {
    "uno": "one", "dos": "two", "tres": "three", "cuatro": "four", "cinco": "five", "seis": "six", "siete": "seven",
    "ocho": "eight", "nueve": "nine", "diez": "ten", "rojo": "red", "azul": "blue", "verde": "green",
    "amarillo": "yellow", "negro": "black", "blanco": "white",
}
ENGLISH_TO_SPANISH = {english: spanish for spanish, english in SPANISH.items()}

_ENGLISH = (*UNITS[1:], *COLOURS[:4], "black", "white", "brown", "orange", "pink", *DAYS)


def _translated(words: str) -> dict[str, str]:
    """Ten numbers, nine colours and seven days of a language -> English."""
    return dict(zip(words.split(), _ENGLISH, strict=True))


FRENCH = _translated(
    "un deux trois quatre cinq six sept huit neuf dix rouge bleu vert jaune noir blanc marron orange rose "
    "lundi mardi mercredi jeudi vendredi samedi dimanche"
)
GERMAN = _translated(
    "eins zwei drei vier fünf sechs sieben acht neun zehn rot blau grün gelb schwarz weiß braun orange rosa "
    "montag dienstag mittwoch donnerstag freitag samstag sonntag"
)
ITALIAN = _translated(
    "uno due tre quattro cinque sei sette otto nove dieci rosso blu verde giallo nero bianco marrone arancione rosa "
    "lunedì martedì mercoledì giovedì venerdì sabato domenica"
)
TENS = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred")  # beyond what it knows itself
THINGS_TO_BUY = ("bread", "milk", "soup", "cake", "eggs", "a table", "a book", "paint")

CONTROL = ("stop", "tick", "reminder", "seconds", "second", "okay", "yeah", "right")
LEAD = ("that", "is")  # an answer is a sentence: "that is seven"
LEAD_NAME = ("you", "are")

REPLY_WORDS: tuple[str, ...] = tuple(
    dict.fromkeys(NUMBERS + tuple(OPPOSITES) + COLOURS + DAYS + NAMES + tuple(ENGLISH_TO_SPANISH.values()) + CONTROL
                  + LEAD + LEAD_NAME)
)
"""Every word the model may say, each once."""

THINGS = ("ball", "square", "triangle", "star")
MORE_REPLY_WORDS: tuple[str, ...] = ("start", "careful", *THINGS, "over", "sorry", "i", "cannot", *TENS)
"""What the next nano may say beyond `REPLY_WORDS`."""

FILLER_SENTENCES = (
    "yesterday we walked along the river with the dog", "my sister bought a new table for the kitchen",
    "the train was crowded and the window would not move", "we had soup and bread for lunch",
    "she put the letter on the shelf near the door", "they are going to the market after work",
    "i think the garden needs some water", "the children played with a ball in the park",
    "he forgot his umbrella at the office", "there is a bird on the roof again",
    "we should paint the fence before summer", "the coffee machine makes a strange noise",
    "my uncle lives in a house by the lake", "i read a book about ships last week",
    "the teacher wrote a word on the board", "we waited for the bus and talked about music",
    "the cat sleeps under the chair every afternoon", "somebody left a bag in the hall",
    "the baker gave us some fresh cake", "i would like to visit my grandmother",
)
STORY_OPENERS = ("let me tell you a story", "i want to tell you something", "listen to what happened to me")
SOUNDS_LIKE = {"to": "two", "for": "four", "week": "weak", "know": "no", "write": "right", "read": "red"}
"""Words that are only heard, and the word to be answered that sounds the same."""
PAUSE_FILLERS = ("um", "well", "hmm", "let me see")


def contrast_set(word: str) -> tuple[str, ...]:
    """The closed class `word` belongs to, itself left out: what else could have been said in its place.

    At least eight words, by the grading rule for TimeSpeak and CueSpeak.
    """
    for group in (NUMBERS, DAYS + NAMES, COLOURS, tuple(SPANISH), tuple(OPPOSITES)):
        if word in group:
            return tuple(other for other in group if other != word)
    return tuple(other for other in NUMBERS[:11] if other != word)
