"""The Debian packages with free recordings, and what their folders and names say of the sound.

Paths are those of the source tree, which copyright files speak of: `root` in the package is
`source` there. The first pattern that a path matches gives its class; files that match none, or
one without a class, are left out. `dev` names what the dev split takes: one album, author or
speaker of the package, or a few tracks where one author made one or two long albums only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """A licence that a text inside the package names, other than its copyright file.

    It counts only while the file `where` (path in the package) holds the words of `licence`.
    """

    pattern: str  # regular expression of the paths that it covers
    licence: str
    author: str
    where: str


@dataclass(frozen=True)
class Package:
    """One package; patterns are regular expressions, searched in the path in the source tree."""

    name: str
    group: str
    root: str
    source: str
    classes: tuple[tuple[str, str], ...]
    dev: str
    statements: tuple[Statement, ...] = ()

    def class_of(self, path: str) -> str | None:
        """The class of the file at `path`, or None if it is to be left out."""
        for pattern, name in self.classes:
            if re.search(pattern, path):
                return name or None
        return None


def _prompts(language: str, dev: str = "^$") -> Package:
    """Voice prompts for telephone exchanges: one speaker a package, G.722 at 16 kHz."""
    return Package(
        f"asterisk-core-sounds-{language}-g722",
        f"asterisk_{language}",
        "usr/share/asterisk/sounds/",
        f"{language}-",  # the copyright file says ru-* for ru_RU_f_IvrvoiceRU
        ((r"/silence/|beep|tone|monkeys|confbridge-(join|leave)", ""), ("", f"speech_{language}")),
        dev,
    )


def _warzone(album: str) -> Statement:
    folder = f"usr/share/games/warzone2100/music/albums/{album}_soundtrack"
    return Statement(
        rf"albums/{album}_soundtrack/track\d+\.opus",  # not the *_enhanced ones: GPL alone
        "CC-BY-SA-3.0",
        "LupusMechanicus",
        f"{folder}/license.txt",
    )


PACKAGES = (
    Package(
        "0ad-data",
        "0ad",
        "usr/share/games/0ad/mods/public/",
        "binaries/data/mods/public/",
        (
            (r"music/0_8Bit", "chiptune"),
            (r"music/Taiko", "drums"),
            (r"music/(Celtic|Tavern|Highland|Harvest_Fest|Mountain|Bandit)", "folk"),
            (r"/music/", "orchestral"),
            (r"ambient/weather", "storm"),
            (r"ambient/water", "water"),
            (r"/ambient/", "ambience"),
            (r"/voice/", "speech_ancient"),
            (r"/fauna/", "animals"),
            ("", "effects"),
        ),
        r"music/(Harsh_Lands|Forging)",
    ),
    _prompts("en"),
    _prompts("es"),
    _prompts("fr", dev=""),  # en and es are the same speaker, so the French one is left out
    _prompts("it"),
    _prompts("ru"),
    Package(
        "megaglest-data",
        "megaglest",
        "usr/share/games/megaglest/",
        "",
        (
            (r"(egypt|indian|persian)/music/", "folk"),
            (r"/music/", "orchestral"),
            (r"tilesets/|water_sounds/", "ambience"),
            (r"factions/\w+/units/", "voices"),
            ("", "effects"),
        ),
        r"factions/(romans/|persian/units/)",
    ),
    Package(
        "naev-data",
        "naev",
        "usr/share/naev/",
        "",
        (
            (r"music/(ambi|landing|intrigue|tension|intro|void|eureka|terminal)", "ambient"),
            (r"music/(dvaered|empire|sirius)", "orchestral"),
            (r"/music/", "electronic"),
            (r"/sounds/", "effects"),
        ),
        r"music/(ambiphonic|void_sensor)",  # the two by Zeropage
    ),
    Package(
        "redeclipse-data",
        "redeclipse",
        "usr/share/games/redeclipse/",
        "",
        (
            (r"music/track_|maps/", "electronic"),
            (r"ambience/(cycadas|nightcrickets)", "insects"),
            (r"ambience/(creek|river|water)", "water"),
            (r"ambience/wind", "wind"),
            (r"/ambience/", "ambience"),
            (r"/(announcer|voice)/", "speech_processed"),
            (r"/sounds/", "effects"),
        ),
        r"music/track_02",
    ),
    Package(
        "singularity-music",
        "singularity",
        "usr/share/games/singularity/music/",
        "",
        (("", "ambient"),),
        r"^(win|lose)/",
    ),
    Package(
        "supertuxkart-data",
        "supertuxkart",
        "usr/share/games/supertuxkart/",
        "",
        (
            (r"music/(celtic|egypt|hacienda|farm|garden|bay)", "folk"),
            (r"music/(xeon6|alien|SkyVibe|subsea)", "electronic"),
            (r"intro2\.ogg|Battle_Theme", "orchestral"),
            (r"/music/|rabbit_hole|Gran_Paradiso|/hot\.ogg", "rock"),
            (r"(nolok_speech|airport_pa)", "speech_processed"),
            (r"sfx/(exotic-birds)", "birds"),
            (r"sfx/(river|rain|waterfall|thunder)", "ambience"),
            ("", "effects"),
        ),
        r"music/(hacienda|menutheme|subsea|win_theme)",  # the four by Claude Werner
    ),
    Package(
        "ufoai-music",
        "ufoai",
        "usr/share/games/ufoai/",
        "",
        (
            (r"music/(Crystan|David|azrael|van_geo|karlmacklin|returnj)", "ambient"),
            (r"music/(Marine|dynamictest-battle)", "rock"),
            (r"music/(van_|alBasrah|greecei|turin)", "orchestral"),
            (r"/music/", "electronic"),
        ),
        r"music/David",
    ),
    Package(
        "warzone2100-music",
        "warzone2100",
        "usr/share/games/warzone2100/",
        "data/",
        (("", "electronic"),),
        r"track(10|16|27)\.opus",
        (_warzone("legacy"), _warzone("aftermath")),
    ),
)
