"""Prefect tasks of the promotion room: parity, the decision, the move."""

from __future__ import annotations

import dataclasses
import getpass
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.runtime import flow_run

from configs.requests import PromoteRequest, RollbackRequest
from configs.schema import PARITY_TOLERANCES
from configs.settings import settings_from
from tasks.inference.answers import select_records
from tasks.models.tasks import open_worker, precision_of
from tasks.storage.faults import reach
from tasks.storage.lease import check_lease
from tasks.tracking.identity import stage_identity
from tasks.tracking.mlflow_pages import run_page
from tasks.tracking.recipe_run import RecipeRun
from tasks.tracking.shown_text import escaped
from tasks.tracking.stage_ledger import StageRecord

if TYPE_CHECKING:
    from tasks.evaluation.verdict import Verdict
    from tasks.promotion.gates import Contest, Decision

log = logging.getLogger("burnish")

_TOP_TOKENS = 64
_STAYS = (
    "it is the champion by an earlier decision and stays so until a better version or a person takes the alias: "
    "`burnish rollback {name} --reason …`"
)


@task(name="check parity")
def check_parity(run: RecipeRun, snapshot: str, option: dict[str, Any], base: str, version: str) -> dict[str, Any]:
    """Load the version from the registry in a fresh process and compare it with the trainer's model."""
    from tasks.data.snapshots import read_snapshot
    from tasks.promotion import parity
    from tasks.registry.mlflow_versions import REJECTED, remove_tag, tag_version

    data = read_snapshot(run.settings.snapshots, snapshot)
    records = select_records(data.split("test"), run.recipe.promotion.parity_records)
    arguments = reference_arguments(run, snapshot, option, [record.record_id for record in records], data.labels)
    with open_worker(run, base, slot=0, slots=1) as worker:
        reference = worker.run("tasks.inference.reference:logits", arguments)["reference"]

    def label_margins(record_ids: Sequence[str], said: Sequence[str]) -> Sequence[float]:
        few = {**arguments, "record_ids": record_ids, "said": said}
        with open_worker(run, base, slot=0, slots=1) as worker:
            return worker.run("tasks.inference.reference:label_margins", few)["margins"]

    result = parity.check_parity(
        run.tracker,
        run.recipe.name,
        version=version,
        records=records,
        reference=run.settings.references / reference,
        labels=data.labels if option["decoding"] == "label_scoring" else None,
        label_margins=label_margins,
        precision=precision_of(run),
        tolerance=run.recipe.promotion.parity_tolerance or PARITY_TOLERANCES[precision_of(run)],
        batch_size=run.recipe.promotion.parity_batch_size,
    )
    tags = {"burnish.parity": result.sentence()}
    if not result.passed:
        tags[REJECTED] = result.sentence()
    else:
        remove_tag(run.tracker, run.recipe.name, version=version, key=REJECTED)
    tag_version(run.tracker, run.recipe.name, version=version, tags=tags)
    log.info("  %s", result.sentence())
    return {**dataclasses.asdict(result), "sentence": result.sentence()}


def reference_arguments(
    run: RecipeRun, snapshot: str, option: dict[str, Any], record_ids: Sequence[str], labels: Sequence[str] | None
) -> dict[str, Any]:
    """What the trainer's own model is asked for the comparison, within the memory that the recipe allows."""
    return {
        "option": option,
        "snapshots": str(run.settings.snapshots),
        "snapshot": snapshot,
        "record_ids": list(record_ids),
        "labels": labels,
        "max_new_tokens": run.recipe.evaluation.max_new_tokens,
        "batch_token_budget": run.recipe.evaluation.batch_tokens,
        "top_tokens": _TOP_TOKENS,
        "references": str(run.settings.references),
        "adapters": str(run.settings.adapters),
    }


@task(name="record moves by hand", retries=2, retry_delay_seconds=10)
def record_moves_by_hand(project_root: Path) -> list[str]:
    """Put on record what was moved in MLflow's own UI; a sentence for each move."""
    from tasks.promotion.by_hand import notice_moves

    sentences = notice_moves(settings_from(project_root=project_root))
    for sentence in sentences:
        log.warning("%s", sentence)
    return sentences


@task(name="promote on request")
def promote_on_request(project_root: Path, request: PromoteRequest) -> str:
    """Make the version the champion and say so."""
    from tasks.promotion.by_hand import promote_by_hand

    settings = settings_from(project_root=project_root)
    reference = f"{request.model}/{request.version}"
    return _told(promote_by_hand(settings, reference, reason=request.reason, actor=_actor()))


@task(name="roll back on request")
def roll_back_on_request(project_root: Path, request: RollbackRequest) -> str:
    """Make the previous champion the champion again and say so."""
    from tasks.promotion.by_hand import rollback_by_hand

    settings = settings_from(project_root=project_root)
    return _told(rollback_by_hand(settings, request.model, reason=request.reason, actor=_actor()))


@task(name="identify the decision")
def promote_identity(run: RecipeRun, checked: StageRecord, scores: StageRecord, version: StageRecord) -> str:
    """Hash of what verdict and decision depend on."""
    inputs = {
        "scores": scores.identity,
        "version": [version.identity, version.outputs["version"]],
        "snapshot": checked.outputs["snapshot"],
        "promotion": run.recipe.promotion.model_dump(mode="json"),
        "economics": run.recipe.economics.model_dump(mode="json"),
        "confidence": run.recipe.evaluation.confidence,
    }
    rooms = ["tasks.promotion", "tasks.evaluation", "tasks.metrics"]
    return stage_identity("promote", inputs, rooms=rooms, libraries=["numpy", "scipy"])


@task(name="decide and move the alias")
def decide_and_move(run: RecipeRun, checked: StageRecord, scores: StageRecord, version: StageRecord) -> dict[str, Any]:
    """Reach the verdict and the decision; move the alias if every gate is cleared; tag the version with both."""
    from tasks.evaluation.comparison import compare
    from tasks.evaluation.verdict import decide_verdict, verdict_confidence

    recipe, contest = run.recipe, _contest(run, checked, scores)
    verdict = decide_verdict(
        contest.candidate, contest.cheaper,
        rows=contest.rows, promotion=recipe.promotion, economics=recipe.economics,
        confidence=recipe.evaluation.confidence, look=contest.look,
    )  # fmt: skip
    number = str(version.outputs["version"])
    decision = _decide(run, contest, verdict, version)
    _carry_out(run, number, decision, identity=promote_identity.fn(run, checked, scores, version), verdict=verdict)
    log.info("  verdict: %s", verdict.kind.replace("_", " "))  # the summary says it in full
    level = verdict_confidence(recipe.promotion, confidence=recipe.evaluation.confidence, look=contest.look)
    gains = {
        card.name: compare(contest.candidate, card, rows=contest.rows, confidence=level) for card in contest.others
    }
    return {
        "verdict": dataclasses.asdict(verdict),
        "decision": dataclasses.asdict(decision),
        "comparisons": [{"option": name, **dataclasses.asdict(gain)} for name, gain in gains.items()],
        "version": number,
    }


def _contest(run: RecipeRun, checked: StageRecord, scores: StageRecord) -> Contest:
    from tasks.data.snapshots import read_snapshot
    from tasks.evaluation.scorecards import scorecard_from_json
    from tasks.evaluation.slices import evaluation_rows
    from tasks.promotion.gates import Contest

    data = read_snapshot(run.settings.snapshots, checked.outputs["snapshot"])
    records = select_records(data.split("test"), None)
    cards = [scorecard_from_json(json.dumps(values)) for values in scores.outputs["scorecards"]]
    return Contest(
        candidate=next(card for card in cards if card.kind == "candidate"),
        cheaper=[card for card in cards if card.kind in ("classical", "prompt")],
        champion=next((card for card in cards if card.kind == "champion"), None),
        champion_version=scores.outputs["champion_version"],
        rows=evaluation_rows(records, slice_by=run.recipe.evaluation.slice_by, labels=data.labels),
        look=int(scores.outputs["look"]),
    )


def _decide(run: RecipeRun, contest: Contest, verdict: Verdict, version: StageRecord) -> Decision:
    """Put the contest before the gates, with what registry and parity check say of the version."""
    from tasks.promotion.alias_moves import CHAMPION, alias_history, veto_of
    from tasks.promotion.gates import should_promote
    from tasks.registry.mlflow_versions import aliases_of

    recipe, number, parity = run.recipe, str(version.outputs["version"]), version.outputs["parity"]
    moves = alias_history(run.tracker, recipe.name)
    decision = should_promote(
        contest, verdict,
        policy=recipe.promotion, parity_passed=bool(parity["passed"]), parity_reason=parity["sentence"],
        veto=veto_of(moves, recipe.name, version=number, alias=recipe.promotion.alias),
        currency=recipe.economics.currency,
    )  # fmt: skip
    if not decision.promote and aliases_of(run.tracker, recipe.name).get(CHAMPION) == number:
        return dataclasses.replace(decision, reasons=(*decision.reasons, _STAYS.format(name=recipe.name)))
    return decision


def _actor() -> str:
    """Who asks: Prefect without authentication does not know the person, so the history names the flow run."""
    return f"{getpass.getuser()}, through Prefect ({flow_run.name})"


def _told(sentence: str) -> str:
    log.info("%s", sentence)
    return sentence


def _carry_out(run: RecipeRun, version: str, decision: Decision, *, identity: str, verdict: Verdict) -> None:
    """Move the alias, then tag: a decision that is void by now leaves no version that looks as if it had cleared.

    A kill in between loses nothing: the recorded move says that the gates were cleared, and the same command, which
    finds its move, tags. Only whom the version was compared with stands there before: once the version is champion
    itself, `find_incumbent` must still find the champion of this decision, or the same command would hold another
    contest and spend another look.
    """
    from tasks.promotion.announcements import announce_moves, announce_rejection
    from tasks.registry.incumbent import COMPARED_WITH
    from tasks.registry.mlflow_versions import tag_version

    if decision.promote:
        check_lease(run.recipe.name)
        compared = {COMPARED_WITH: decision.champion_version or ""}
        tag_version(run.tracker, run.recipe.name, version=version, tags=compared)
        _move(run, version, decision, identity)
    _tag(run, version, decision, verdict=verdict.sentence)
    if decision.promote:
        announce_moves(run.tracker, run.recipe.name)
        return
    announce_rejection(
        run.recipe.name, version,
        decision=f"{run.run_id} {identity}", champion=decision.champion_version,
        gates=[gate.name for gate in decision.gates if not gate.passed],
    )  # fmt: skip


def _tag(run: RecipeRun, version: str, decision: Decision, *, verdict: str) -> None:
    from tasks.promotion.alias_moves import CLEARED, DECISION
    from tasks.registry.incumbent import COMPARED_WITH
    from tasks.registry.mlflow_versions import describe_version, tag_version

    tags = {
        "burnish.verdict": verdict,
        DECISION: CLEARED if decision.promote else "refuse",
        "burnish.reasons": "; ".join(decision.reasons),
        "burnish.look": str(decision.look),
        COMPARED_WITH: decision.champion_version or "",
    }
    tag_version(run.tracker, run.recipe.name, version=version, tags=tags)
    page = run_page(run.experiment, run.run_id, artifact=f"{run.recipe.name}.html")
    reasons = (f"- {escaped(reason, width=1200)}" for reason in decision.reasons)
    text = "\n\n".join([escaped(verdict, width=1200), *reasons, f"[The report]({page})"])
    describe_version(run.tracker, run.recipe.name, version=version, text=text)


def _move(run: RecipeRun, version: str, decision: Decision, identity: str) -> None:
    from tasks.promotion.alias_moves import move_alias

    assert decision.alias is not None
    move_alias(
        run.tracker,
        run.recipe.name,
        alias=decision.alias,
        version=version,
        beaten_champion=decision.champion_version,
        actor="finetune",
        reason="cleared every gate",
        decision=identity,
    )
    reach("promote:moved")
