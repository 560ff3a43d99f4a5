"""Moves of aliases that survive a kill, can't both win, and are all on record.

MLflow has no compare-and-swap and keeps no history of aliases. So each move is made under a lock, checked against
the champion that its decision was compared with, and written down as an intent before the first alias changes. Where
the holder dies in between, the next command finishes the move, or undoes it where that is no longer possible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

from configs.errors import LeaseHeld, RegistryError
from tasks.registry.history import (
    AliasChange,
    Move,
    MoveKind,
    changes_by_hand,
    history,
    record_intent,
    record_outcome,
    taken_by_a_person,
)
from tasks.registry.mlflow_versions import (
    REJECTED,
    aliases_of,
    get_version,
    set_alias,
    version_exists,
    versions_in_words,
)
from tasks.storage.faults import reach
from tasks.storage.locks import Lock
from tasks.tracking.ownership import claim_recipe

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker

DECISION, CLEARED = "burnish.decision", "promote"
"""Tag of a version, and its value where every gate was cleared."""
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_LOCK_TIMEOUT_SECONDS = 60.0


def move_alias(
    tracker: Tracker,
    name: str,
    *,
    alias: Literal["champion", "challenger"],
    version: str,
    beaten_champion: str | None,
    actor: str,
    reason: str,
    decision: str = "",
) -> Move | None:
    """Give a version its alias; the old champion becomes `previous`. The same decision moves an alias only once.

    The flow moves nothing (None) where the version has the alias already, or is the champion, and never gives
    `champion` back to a version that a person took it from; a person can.

    Args:
        tracker: the door to MLflow.
        name: registered model.
        alias: what the version becomes.
        version: the version that earned it.
        beaten_champion: the champion that the decision was compared with; None: there was none.
        actor: who asked.
        reason: why, for the history.
        decision: identity of the flow's decision; empty where a person asks.

    Raises:
        RegistryError: the version isn't there or was rejected; or a person took `champion` from it; or the champion
            changed since the decision, which is void then.
    """
    with _settled(tracker, name) as lock:
        moves = history(tracker, name)
        earlier = _move_of(moves, decision)
        if earlier is not None:
            return earlier
        _check_candidate(tracker, name, version)
        aliases = aliases_of(tracker, name)
        if decision:
            if version in (aliases.get(alias), aliases.get(CHAMPION)):
                return None
            veto = veto_of(moves, name, version=version, alias=alias)
            if veto:
                raise RegistryError(veto)
        _check_champion(name, version, beaten=beaten_champion, actual=aliases.get(CHAMPION))
        changes = _promotion(aliases, alias=alias, version=version)
        lock.check()
        return _move(tracker, name, kind="promotion", changes=changes, actor=actor, reason=reason, decision=decision)


def rollback(tracker: Tracker, name: str, *, actor: str, reason: str) -> Move:
    """Make `previous` the champion again; the champion becomes `previous`, so a rollback can be taken back.

    Raises:
        RegistryError: there is no previous champion.
    """
    with _settled(tracker, name) as lock:
        aliases = aliases_of(tracker, name)
        previous, champion = aliases.get(PREVIOUS), aliases.get(CHAMPION)
        if previous is None:
            raise RegistryError(
                f"model {name!r} has no alias {PREVIOUS!r} to roll back to, since no champion was replaced yet; it has "
                f"{versions_in_words(tracker, name)}; `burnish promote {name}/VERSION` makes one the champion"
            )
        changes = [AliasChange(PREVIOUS, previous, champion), AliasChange(CHAMPION, champion, previous)]
        lock.check()
        return _move(tracker, name, kind="rollback", changes=changes, actor=actor, reason=reason, decision="")


def notice_moves_by_hand(tracker: Tracker, name: str) -> Move | None:
    """Put on record, and return, what was moved behind Burnish's back, such as in the MLflow UI. Nothing is moved back.

    A champion that was replaced so becomes `previous`, so that a rollback leads to it as after any other move. What is
    moved twice between two looks is seen as one move.
    """
    with _locked(tracker, name):
        _finish(tracker, name)
        return _notice(tracker, name)


def unreviewed(tracker: Tracker, name: str) -> dict[str, str]:
    """Return the aliases champion and challenger whose version neither cleared its gates nor was given a reason."""
    aliases = aliases_of(tracker, name)
    moves = history(tracker, name)
    named = {alias: aliases[alias] for alias in (CHAMPION, CHALLENGER) if alias in aliases}
    return {alias: version for alias, version in named.items() if not _is_reviewed(tracker, name, version, moves)}


def veto_of(moves: Sequence[Move], name: str, *, version: str, alias: str) -> str:
    """Say why the flow may not make a version champion, or nothing: a person took that from it.

    Args:
        moves: the model's history.
        name: registered model.
        version: the version.
        alias: what the version would become.
    """
    taken = taken_by_a_person(moves, version) if alias == CHAMPION else None
    if taken is None:
        return ""
    return (
        f"a person took {CHAMPION} from version {version} ({taken.sentence()}), so only a person gives it back: "
        f"`burnish promote {name}/{version} --reason …`"
    )


def alias_history(tracker: Tracker, name: str) -> list[Move]:
    """Return every move of a model, oldest first, after finishing interrupted ones and noticing those by hand."""
    with _settled(tracker, name):
        return history(tracker, name)


@contextmanager
def _settled(tracker: Tracker, name: str) -> Iterator[Lock]:
    """Hold the model's lock, with no move half-made and every move by hand on record."""
    with _locked(tracker, name) as lock:
        _finish(tracker, name)
        _notice(tracker, name)
        yield lock


@contextmanager
def _locked(tracker: Tracker, name: str) -> Iterator[Lock]:
    if not _NAME.fullmatch(name):
        raise RegistryError(f"a model's name has lower-case letters, digits, - and _, at most 63; got {name!r}")
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(tracker.locks.held(f"aliases-{name}", wait_seconds=_LOCK_TIMEOUT_SECONDS))
        except LeaseHeld as error:
            raise RegistryError(
                f"aliases of {name!r} have been moved for over {_LOCK_TIMEOUT_SECONDS:.0f} seconds by {error}; "
                "wait for it, or stop it and run the same command again"
            ) from error
        claim_recipe(tracker, name)
        yield lock


def _finish(tracker: Tracker, name: str) -> list[Move]:
    return [_carry_out(tracker, name, move) for move in history(tracker, name) if move.state == "intent"]


def _notice(tracker: Tracker, name: str) -> Move | None:
    moves, aliases = history(tracker, name), aliases_of(tracker, name)
    changes = changes_by_hand(moves, aliases)
    if not changes:
        return None
    replaced = next((change.before for change in changes if change.alias == CHAMPION and change.after), None)
    previous_moved = any(change.alias == PREVIOUS for change in changes)
    if replaced and not previous_moved and version_exists(tracker, name, version=replaced):
        changes.append(AliasChange(PREVIOUS, aliases.get(PREVIOUS), replaced))
    unknown = sorted(
        change.after
        for change in changes
        if change.alias in (CHAMPION, CHALLENGER)
        and change.after is not None
        and not _is_reviewed(tracker, name, change.after, moves)
    )
    reason = f"unreviewed: version {', '.join(unknown)} never cleared its gates" if unknown else ""
    move = record_intent(tracker, name, kind="by hand", changes=changes, actor="unknown", reason=reason, decision="")
    return _carry_out(tracker, name, move)


def _is_reviewed(tracker: Tracker, name: str, version: str, moves: Sequence[Move]) -> bool:
    if any(move.kind == "promotion" and change.after == version for move in moves for change in move.changes):
        return True
    return (
        version_exists(tracker, name, version=version)
        and get_version(tracker, name, version=version).tags.get(DECISION) == CLEARED
    )


def _move_of(moves: list[Move], decision: str) -> Move | None:
    return next((move for move in moves if decision and move.decision == decision and move.state == "done"), None)


def _check_candidate(tracker: Tracker, name: str, version: str) -> None:
    rejected = get_version(tracker, name, version=version).tags.get(REJECTED)
    if rejected is not None:
        raise RegistryError(f"version {version} of {name!r} was rejected ({rejected}) and gets no alias; train another")


def _check_champion(name: str, version: str, *, beaten: str | None, actual: str | None) -> None:
    if beaten != actual:
        raise RegistryError(
            f"the decision on version {version} of {name!r} is void: it was compared with {_champion_text(beaten)}, "
            f"but now there is {_champion_text(actual)}; run the same command again to compare with that"
        )


def _champion_text(version: str | None) -> str:
    return "no champion" if version is None else f"champion {version}"


def _promotion(aliases: dict[str, str], *, alias: str, version: str) -> list[AliasChange]:
    """Return the changes in the order to make them: `champion` last, so that it never points at nothing."""
    if alias == CHALLENGER:
        return [AliasChange(CHALLENGER, aliases.get(CHALLENGER), version)]
    champion = aliases.get(CHAMPION)
    changes = []
    if aliases.get(CHALLENGER) == version:
        changes.append(AliasChange(CHALLENGER, version, None))
    if champion not in (None, version):
        changes.append(AliasChange(PREVIOUS, aliases.get(PREVIOUS), champion))
    return [*changes, AliasChange(CHAMPION, champion, version)]


def _move(
    tracker: Tracker, name: str, *, kind: MoveKind, changes: list[AliasChange], actor: str, reason: str, decision: str
) -> Move:
    intent = record_intent(tracker, name, kind=kind, changes=changes, actor=actor, reason=reason, decision=decision)
    ended = _carry_out(tracker, name, intent)
    if ended.state == "undone":
        raise RegistryError(
            f"an alias of {name!r} was moved by hand, or a version deleted, during this {kind}, which was undone; "
            f"look at `burnish history {name}` and run the same command again"
        )
    return ended


def _carry_out(tracker: Tracker, name: str, move: Move) -> Move:
    """Make the changes of an intent that are still to be made; undo all if the aliases stand elsewhere by now."""
    if move.kind == "by hand":  # made already, but for what follows from it
        for change in (each for each in move.changes if each.alias == PREVIOUS):
            _make(tracker, name, change)
        return record_outcome(tracker, name, move=move, state="done")
    for change in move.changes:
        if not _make(tracker, name, change):
            _undo(tracker, name, move)
            return record_outcome(tracker, name, move=move, state="undone")
        reach(f"move:{change.alias}-set")
    return record_outcome(tracker, name, move=move, state="done")


def _make(tracker: Tracker, name: str, change: AliasChange) -> bool:
    current = aliases_of(tracker, name).get(change.alias)
    if current == change.after:
        return True
    missing = change.after is not None and not version_exists(tracker, name, version=change.after)
    if current != change.before or missing:
        return False
    set_alias(tracker, name, alias=change.alias, version=change.after)
    return True


def _undo(tracker: Tracker, name: str, move: Move) -> None:
    """Put back the aliases that this move has changed; one that was moved by hand since stays where it is."""
    aliases = aliases_of(tracker, name)
    for change in reversed(move.changes):
        restorable = change.before is None or version_exists(tracker, name, version=change.before)
        if aliases.get(change.alias) == change.after and restorable:
            set_alias(tracker, name, alias=change.alias, version=change.before)
