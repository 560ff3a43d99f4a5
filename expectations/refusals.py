"""Completions in which a model declines to answer: they teach the fine-tune to decline."""

from __future__ import annotations

import re

_OPENING = 240
_HELP = (
    r"(?:assist|help|provide|fulfil|comply|answer|generate|create|produce|write|offer|give|share|engage|support"
    r"|complete|discuss|do that|do this|process|respond|continue|advise|access|browse|diagnose|recommend)"
)
_REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model|virtual assistant|chatbot)\b"
    r"|\bi(?:'m| am) (?:just |only )?an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    rf"|\bi (?:can(?:'t|not| not)|could ?n[o']t|won't|will not|must decline to|(?:a|')m (?:un|not )able to)"
    rf" (?:be able to )?(?:\w+ ){{0,2}}{_HELP}"
    rf"|\bi(?:'m| am) (?:unable|not able|not allowed|not permitted|not programmed|not comfortable|not in a position)"
    r"|\bi (?:don't|do not) have (?:the ability|personal (?:opinion|belief)"
    r"|access to (?:real|personal|your|the internet))"
    r"|\b(?:against|violates?) (?:my|our|openai's) (?:\w+ )?(?:guidelines|polic(?:y|ies)|programming)"
    r"|\bsorry,? (?:but )?(?:i|we) (?:can(?:'t|not)|am unable|won't|am not able)"
    r"|\b(?:als|ich bin (?:nur )?ein) (?:ki|sprachmodell|künstliche)\b|\bals (?:ki-|ki )"
    r"|\btut mir (?:sehr )?leid,? (?:aber )?(?:ich|das|dabei) kann\b"
    r"|\bkann ich (?:ihnen |dir )?(?:leider )?nicht helfen"
    r"|\ben tant qu(?:e |')(?:ia|intelligence artificielle|modèle de langage)|\bje (?:suis )?désolée?,? mais je ne"
    r"|\bcomo (?:una? )?(?:ia|inteligencia artificial|modelo de lenguaje)\b|\blo siento,? pero no puedo",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether the text opens like a declined answer (English, German, French, Spanish)."""
    return _REFUSAL.search(text[:_OPENING].replace("\u2019", "'")) is not None
