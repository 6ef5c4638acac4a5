"""Who comes to the simulated hospital: names, birth dates and addresses, all invented."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from random import Random

FAMILIES = (
    "Adams", "Baker", "Brandt", "Castillo", "Dubois", "Eriksen", "Fischer", "García", "Hansen", "Ibrahim",
    "Jansen", "Kowalski", "Lindström", "Müller", "Novak", "O'Brien", "Peeters", "Quinn", "Rossi", "Schröder",
    "Tanaka", "Ünal", "van den Berg", "Weiß", "Yilmaz", "Zimmermann",
)  # fmt: skip
WOMEN = ("Anna", "Beatrice", "Chloë", "Dorothea", "Elif", "Fatima", "Grace", "Hélène", "Ingrid", "Joanna")
MEN = ("Ahmed", "Bruno", "Carlos", "Daniël", "Emil", "François", "Günter", "Hiro", "Ivan", "Jürgen")
STREETS = ("Harbour Street", "Mill Lane", "Station Road", "Church Square", "Elm Avenue")


@dataclass(frozen=True, slots=True)
class Human:
    """A human being. `name` is a DICOM PN: family^given^middle^prefix."""

    name: str
    birth_date: date
    sex: str
    address: str


def human(rng: Random, sex: str = "") -> Human:
    """Somebody new, an adult."""
    sex = sex or rng.choice("FM")
    given = rng.choice(WOMEN if sex == "F" else MEN)
    title = "^^Dr." if rng.random() < 0.1 else ""
    return Human(
        name=f"{rng.choice(FAMILIES)}^{given}{title}",
        birth_date=date(1935, 1, 1) + timedelta(days=rng.randint(0, 25_000)),
        sex=sex,
        address=address(rng),
    )


def address(rng: Random) -> str:
    """An address as XAD, encoded."""
    return f"{rng.randint(1, 180)} {rng.choice(STREETS)}^^Harbourtown^^{rng.randint(10000, 99999)}"


def other_family(rng: Random, name: str) -> str:
    """The name with another family name, as after a marriage."""
    family, _, rest = name.partition("^")
    return f"{rng.choice([other for other in FAMILIES if other != family])}^{rest}"


def typed(name: str) -> str:
    """The name as somebody types it: family and given name in capitals."""
    return "^".join(name.split("^")[:2]).upper()


def unlike(rng: Random, name: str, sex: str) -> Human:
    """Somebody who cannot be taken for the one of this name and sex."""
    somebody = human(rng, sex="M" if sex == "F" else "F")
    family = other_family(rng, name).split("^")[0]
    return replace(somebody, name="^".join([family, *somebody.name.split("^")[1:]]))
