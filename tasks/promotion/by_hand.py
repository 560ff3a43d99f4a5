"""Moves that a person asks for: with a reason, on record, under the same lock as the flow's own."""

from __future__ import annotations

import getpass

from configs.errors import RegistryError
from configs.settings import Settings
from tasks.promotion.announcements import announce_moves
from tasks.tracking.recipe_run import tracker_at

_AGAINST_ITS_GATES = "by hand, though its gates had refused it"


def promote_by_hand(settings: Settings, reference: str, *, reason: str, actor: str | None = None) -> str:
    """Make a version (`name/3`) the champion and say so.

    Args:
        settings: the places of the installation.
        reference: the version.
        reason: why, for the history.
        actor: who asks; None: the user of this process.

    Raises:
        RegistryError: no reason, no such version, or one that was rejected by the parity check.
    """
    from tasks.promotion.alias_moves import CHAMPION, CLEARED, DECISION, move_alias, unreviewed
    from tasks.registry.mlflow_versions import aliases_of, require_model, resolve_version, versions_in_words

    _require(reason)
    tracker = tracker_at(settings)
    if "/" not in reference and "@" not in reference:
        require_model(tracker, reference)
        has = versions_in_words(tracker, reference)
        raise RegistryError(f"say which version becomes champion, as {reference}/VERSION; {reference!r} has {has}")
    version = resolve_version(tracker, reference)
    beaten = aliases_of(tracker, version.name).get("champion")
    if beaten == version.version and CHAMPION not in unreviewed(tracker, version.name):
        return f"version {version.version} of {version.name} is the champion already"
    refused = version.tags.get(DECISION, CLEARED) != CLEARED
    move = move_alias(
        tracker, version.name,
        alias="champion", version=version.version, beaten_champion=beaten,
        actor=actor or getpass.getuser(), reason=f"{reason} ({_AGAINST_ITS_GATES})" if refused else reason,
    )  # fmt: skip
    assert move is not None  # a person's move is always made
    announce_moves(tracker, version.name)
    if not refused:
        return move.sentence()
    return f"{move.sentence()}\nIt had been refused: {version.tags.get('burnish.reasons', 'no reasons on record')}"


def rollback_by_hand(settings: Settings, name: str, *, reason: str, actor: str | None = None) -> str:
    """Make the previous champion the champion again and say so.

    Args:
        settings: the places of the installation.
        name: registered model.
        reason: why, for the history.
        actor: who asks; None: the user of this process.

    Raises:
        RegistryError: no reason, or nothing to go back to.
    """
    from tasks.promotion.alias_moves import rollback
    from tasks.registry.mlflow_versions import require_model

    _require(reason)
    tracker = tracker_at(settings)
    require_model(tracker, name)
    move = rollback(tracker, name, actor=actor or getpass.getuser(), reason=reason)
    announce_moves(tracker, name)
    return move.sentence()


def notice_moves(settings: Settings) -> list[str]:
    """Put on record what was moved in MLflow's own UI, for every model of Burnish; return it in sentences.

    Announces that, and every other move of which nobody heard: one whose command was killed, or found no server.
    """
    from tasks.promotion.alias_moves import notice_moves_by_hand
    from tasks.registry.mlflow_versions import own_models
    from tasks.tracking.ownership import NotOurs

    tracker = tracker_at(settings)
    sentences = []
    for name in own_models(tracker):
        try:
            move = notice_moves_by_hand(tracker, name)
        except NotOurs:
            continue  # whose it is takes note
        if move is not None:
            sentences.append(f"{name}: {move.sentence()}")
        announce_moves(tracker, name)
    return sentences


def history_lines(settings: Settings, name: str) -> list[str]:
    """Every move of a model, oldest first; moves made in MLflow's own UI are noticed now.

    Raises:
        RegistryError: there is no such model.
    """
    from tasks.promotion.alias_moves import alias_history
    from tasks.registry.mlflow_versions import require_model

    tracker = tracker_at(settings)
    require_model(tracker, name)
    moves = alias_history(tracker, name)
    announce_moves(tracker, name)
    return [move.sentence() for move in moves] or [
        f"no alias of {name} was moved yet: a version that clears its gates gets one, or by hand "
        f"`burnish promote {name}/VERSION --reason 'why'`"
    ]


def _require(reason: str) -> None:
    if not reason.strip():
        raise RegistryError("a move by hand needs a reason for the history: --reason 'why'")
