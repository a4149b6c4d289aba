"""What a column's name says of its part: measured after treatment, about one person, a treatment, an outcome."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Parts of names, folded, by the language of the forms that use them. A part that ends in "*" may go on.
_LATER = (
    "readmi* re-admi* rehosp* followup* follow-up* fu discharg* death died dead deceased dth mortality surviv* los stay relapse* recur* "
    "complication* adverse ae sae dropout* withdraw* censor* endpoint* outcome* after post posttest post-test postop* response "
    "wiederaufn* wiederkehr* nachsorge* nachbeob* nachunter* verlaufs* entlass* tod todes* tot verstorb* gestorben sterb* mortalität "
    "überleb* ueberleb* verweildauer liegedauer rezidiv* komplikation* nebenwirk* abbruch* "
    "réadmission* readmission* suivi sortie décès deces décédé reingreso* seguimiento alta muerte fallec* exitus"
)
#: Compounds that no separator cuts: looked for anywhere in a name.
_LATER_INSIDE = re.compile(
    r"follow.?up|readmi|re-?hospitali|lengthofstay|length.of.stay|wiederaufnahm|entlass|verstorben|todes(datum|tag)|dth$"
)
#: Ends of names that count occasions: years, and numbers behind the word for an occasion.
_WAVE = re.compile(
    r"(?P<stem>.*?)[ _.\-]*(?P<wave>(?:19|20)[0-9]{2}|[5-9][0-9]|"
    r"(?:t|w|v|wave|visit|week|month|day|year|monat|woche)[ _.\-]?[0-9]{1,2})"
)
#: Names with a number that is too low for a year.
_NUMBERED = re.compile(r"(?P<stem>.*?)[ _.\-]*0*[0-4]?[0-9]")
_BEFORE = "baseline base bl pre pretest pre-test preop* before prior history anamnes* vor vorher ausgang* t0 0"
_PERSON = (
    "name names surname lastname firstname forename vorname nachname familienname geburtsname email e-mail mail phone telephone telefon* "
    "mobile handy fax address adresse* street strasse straße hausnummer iban ssn nhs insurance versichertennummer versicherungsnummer "
    "passport ausweis* nom prénom prenom apellido* correo"
)
_TREATMENT = (
    "treat* treated arm group drug trt tx exposure exposed intervention program* assign* randomi* therap* allocat* "
    "behandl* gruppe interventions* arznei* medikament* traitement* bras tratamiento* grupo"
)
_OUTCOME = (
    "outcome* y score result* response endpoint* change diff cost* ergebnis* zielgröße zielgroesse punkt* kosten wert résultat* resultado*"
)
_WEIGHT = "pweight* pwgt finalwt samplingweight* sampleweight* surveyweight* hochrechn* ipw iptw"
_WEIGHTS, _SAMPLES = "weight* wt wgt gewicht*", "sampling sample survey design person* population pop final hochrechn* stichprob*"
_NOMINAL = (
    "race ethnic* site centre center clinic ward department region state country zip plz postcode code type category class group stage "
    "sex gender geschlecht station klinik abteilung land bundesland beruf* education marital exercise active diagnos* icd"
)


def measured_later(name: str) -> bool:
    """Whether a name tells of something after treatment: a readmission, a discharge, a follow-up, a death."""
    parts = _parts(name)
    if _among(parts, _BEFORE):
        return False
    return _among(parts, _LATER) or _LATER_INSIDE.search(name.casefold()) is not None


def about_a_person(name: str) -> bool:
    """Whether a name is that of a direct identifier of persons: a name, an address, a telephone number."""
    return _among(_parts(name), _PERSON)


def like_treatment(name: str) -> bool:
    """Whether a name is one that treatments have."""
    return _among(_parts(name), _TREATMENT)


def like_outcome(name: str) -> bool:
    """Whether a name is one that outcomes have."""
    return _among(_parts(name), _OUTCOME) or measured_later(name)


def like_weight(name: str) -> bool:
    """Whether a name is that of a sampling weight; a weight alone may be one of bodies."""
    parts = _parts(name)
    return _among(parts, _WEIGHT) or (_among(parts, _WEIGHTS) and _among(parts, _SAMPLES))


def like_category(name: str) -> bool:
    """Whether whole numbers under a name are rather codes than amounts."""
    return _among(_parts(name), _NOMINAL)


def later_waves(names: Sequence[str]) -> dict[str, str]:
    """Return columns that repeat another one at a later occasion, such as weight82 and weight71, with the earliest.

    Columns that are numbered from below 50, such as x1 to x99, are no occasions.

    Parameters
    ----------
    names : sequence of str
        Columns of a table.
    """
    waves: dict[str, list[tuple[int, str]]] = {}
    numbered = {match["stem"] for name in names if (match := _NUMBERED.fullmatch(name.casefold())) is not None}
    for name in names:
        match = _WAVE.fullmatch(name.casefold())
        if match is not None and match["stem"] and not (match["wave"].isdecimal() and match["stem"] in numbered):
            waves.setdefault(match["stem"], []).append((int(re.sub(r"[^0-9]", "", match["wave"])), name))
    later: dict[str, str] = {}
    for group in waves.values():
        first = min(group)
        later |= {name: first[1] for number, name in group if number > first[0]}
    return later


def _parts(name: str) -> tuple[str, ...]:
    """Cut a name where its case changes and at everything but letters, digits and dashes inside words."""
    cut = re.sub(r"(?<=[a-zäöüß])(?=[A-ZÄÖÜ])", " ", name)
    words = re.split(r"[^\w-]|_", cut.casefold())
    return tuple(part for word in words for part in {word, *word.split("-")} if part)


def _among(parts: tuple[str, ...], vocabulary: str) -> bool:
    words = vocabulary.split()
    whole = {word for word in words if not word.endswith("*")}
    stems = tuple(word[:-1] for word in words if word.endswith("*"))
    return any(part in whole or part.startswith(stems) for part in parts)
