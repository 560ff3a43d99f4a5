"""The project keeps what it says of itself."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from configs.environment import SWITCHES, set_private_switches
from configs.reference import reference
from flows.__main__ import _parser

PROJECT = Path(__file__).resolve().parents[3]
README = (PROJECT / "README.md").read_text()
HEAVY = ("torch", "transformers", "peft", "prefect", "mlflow", "great_expectations", "optuna", "sklearn", "datasets")


@pytest.mark.parametrize("package", ["flows", "tasks", "configs", "expectations"])
def test_each_package_comes_from_this_repository(package: str) -> None:
    found = importlib.import_module(package).__file__

    assert found is not None
    assert Path(found).is_relative_to(PROJECT)


def test_help_and_recipe_errors_load_nothing_heavy() -> None:
    code = (
        "import sys\nfrom flows.__main__ import main\n"
        "try:\n main(['--help'])\nexcept SystemExit:\n pass\n"
        "main(['finetune', '--recipe', 'nowhere.yaml'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)

    assert done.stdout.rstrip().endswith("[]")


def test_a_flow_begins_before_its_heavy_libraries_are_loaded() -> None:
    flows = sorted(path.stem for path in (PROJECT / "flows").glob("*.py") if not path.stem.startswith("__"))
    heavy = [name for name in HEAVY if name != "prefect"]
    code = f"import sys, {', '.join(f'flows.{name}' for name in flows)}\n"
    code += f"print([name for name in {heavy!r} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)

    assert done.stdout.rstrip() == "[]"


def test_every_command_in_the_readme_exists() -> None:
    commands = set(re.findall(r"^\$ burnish (\w+)", README, flags=re.MULTILINE))
    known = _parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]

    assert len(commands) >= 8
    assert commands <= set(known)  # type: ignore[arg-type]


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for document in [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *PROJECT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_recipe_reference_is_up_to_date() -> None:
    page = (PROJECT / "docs" / "guides" / "recipes.md").read_text()

    assert page == reference(), "run `python -m configs.reference > docs/guides/recipes.md`"


def test_the_private_switches_go_over_the_users_shell() -> None:
    environment = {"MLFLOW_DISABLE_TELEMETRY": "false", "MLFLOW_RUN_ID": "hijacked", "PREFECT_LOGGING_LEVEL": "DEBUG"}

    set_private_switches(environment)

    assert {key: environment[key] for key in SWITCHES} == SWITCHES
    assert "MLFLOW_RUN_ID" not in environment
    assert environment["PREFECT_LOGGING_LEVEL"] == "DEBUG"


@pytest.mark.parametrize(
    ("asked", "set_to"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
    ],
)
def test_how_threads_wait_is_set_only_where_the_user_does_not_ask(
    asked: dict[str, str], set_to: dict[str, str]
) -> None:
    environment = dict(asked)

    set_private_switches(environment)

    found = {key: environment[key] for key in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if key in environment}
    assert found == set_to


def test_every_package_is_pinned() -> None:
    pins = [line for line in (PROJECT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]

    assert all("==" in pin for pin in pins)
    assert "torch==2.13.0" in pins


def test_make_help_lists_the_targets() -> None:
    done = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True)

    for target in ("help", "setup", "demo", "test", "check", "format", "bench"):
        assert f"make {target}" in done.stdout
