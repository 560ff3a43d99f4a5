from pathlib import Path

import pytest

from configs.errors import RecipeError, ServerError
from configs.settings import databases_on, settings_from

SERVER = "postgresql://burnish:hush@db.example:5432/postgres?sslmode=require"


def test_everything_is_in_the_home_where_nothing_else_is_said(tmp_path: Path) -> None:
    settings = settings_from({}, project_root=tmp_path)

    assert settings.tracking_uri == f"sqlite:///{tmp_path}/.burnish/mlflow.db"
    assert settings.study_url == f"sqlite:///{tmp_path}/.burnish/optuna.db"
    assert (settings.lock_database, settings.prefect_database_url, settings.artifact_root) == (None, None, None)


def test_one_postgres_server_gives_three_databases() -> None:
    found = databases_on(SERVER)

    assert found.mlflow == "postgresql+psycopg://burnish:hush@db.example:5432/burnish_mlflow?sslmode=require"
    assert found.optuna == "postgresql+psycopg://burnish:hush@db.example:5432/burnish_optuna?sslmode=require"
    assert found.prefect == "postgresql+asyncpg://burnish:hush@db.example:5432/burnish_prefect?ssl=require"


def test_a_database_given_on_its_own_wins(tmp_path: Path) -> None:
    environment = {
        "BURNISH_POSTGRES_URL": SERVER,
        "MLFLOW_TRACKING_URI": "https://mlflow.example",
        "BURNISH_STUDY_URL": "postgresql://o@db/studies",
    }

    settings = settings_from(environment, project_root=tmp_path)

    assert settings.tracking_uri == "https://mlflow.example"
    assert settings.study_url == settings.lock_database == "postgresql+psycopg://o@db/studies"
    assert settings.prefect_database_url == databases_on(SERVER).prefect


def test_a_team_is_one_installation_whatever_its_homes_and_passwords(tmp_path: Path) -> None:
    def installation(home: str, server: str | None) -> str:
        environment = {"BURNISH_HOME": home} | ({"BURNISH_POSTGRES_URL": server} if server else {})
        return settings_from(environment, project_root=tmp_path).installation

    assert installation("/a", SERVER) == installation("/b", SERVER.replace("hush", "changed"))
    assert installation("/a", SERVER) != installation("/a", SERVER.replace("db.example", "other.example"))
    assert installation("/a", None) != installation("/b", None)


def test_passwords_are_not_shown_when_settings_are_printed(tmp_path: Path) -> None:
    assert "hush" not in repr(settings_from({"BURNISH_POSTGRES_URL": SERVER}, project_root=tmp_path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_TRACKING_URI", "http://me:hush@mlflow:5000"),
        ("PREFECT_API_URL", "https://me:hush@prefect/api"),
        ("BURNISH_POSTGRES_URL", "mysql://me:hush@db/x"),
        ("BURNISH_ARTIFACT_ROOT", "gs://bucket/x"),
        ("BURNISH_ARTIFACT_ROOT", "s3:///x"),
    ],
)
def test_an_address_that_can_not_be_used_is_refused_without_showing_its_password(
    tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(ServerError, match=name) as error:
        settings_from({name: value}, project_root=tmp_path)

    assert "hush" not in str(error.value)


@pytest.mark.parametrize("text", ["0", "-1", "a month", "nan", "inf"])
def test_a_time_to_keep_that_is_no_number_above_zero_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match="BURNISH_KEEP_DAYS"):
        settings_from({"BURNISH_KEEP_DAYS": text}, project_root=tmp_path)
