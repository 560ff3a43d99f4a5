"""The same rules for locks in files and in Postgres; and what Postgres adds: a holder may lose its connection."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from configs.errors import LeaseHeld, LeaseLost, ServerError
from tasks.storage.lease import check_lease, recipe_lease
from tasks.storage.locks import FileLocks, Locks
from tasks.storage.postgres_locks import PostgresLocks
from tests.postgres_cluster import PostgresCluster, postgres_cluster

HOLDER = """
import sys, time
from pathlib import Path
from tasks.storage.lease import recipe_lease
from tasks.storage.locks import FileLocks
from tasks.storage.postgres_locks import PostgresLocks
where = sys.argv[1]
with recipe_lease(PostgresLocks(where) if "://" in where else FileLocks(Path(where)), "r"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    with postgres_cluster() as started:
        yield started


@pytest.fixture(params=["files", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "files" else request.getfixturevalue("cluster").url


@pytest.fixture
def locks(where: str) -> Locks:
    return PostgresLocks(where) if "://" in where else FileLocks(Path(where))


def end_sessions(cluster: PostgresCluster) -> None:
    """Cut every lock's connection, as a restart or a broken line does."""
    with psycopg.connect(cluster.url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'burnish lock'"
        )


def test_a_second_process_is_told_who_holds_the_lease_and_a_killed_holder_frees_it(where: str, locks: Locks) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, where], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()

    with pytest.raises(LeaseHeld, match=rf"process {holder.pid} on .* since 20\d\d-"), recipe_lease(locks, "r"):
        pass
    assert locks.is_held("recipe-r")
    holder.kill()
    holder.wait()

    with recipe_lease(_patient(locks), "r"):
        assert locks.is_held("recipe-r")
    assert not locks.is_held("recipe-r")


def _patient(locks: Locks) -> Locks:
    """Postgres notices within moments that a client is gone; the rule here is that it does."""
    with locks.held("recipe-r", wait_seconds=5):
        return locks


def test_whoever_waits_gets_the_lock_when_it_is_free(locks: Locks) -> None:
    first = locks.held("aliases-m")
    first.__enter__()
    threading.Timer(0.5, lambda: first.__exit__(None, None, None)).start()

    with locks.held("aliases-m", wait_seconds=10) as lock:
        lock.check()


def test_locks_of_different_names_are_different(locks: Locks) -> None:
    with locks.held("recipe-a"), locks.held("recipe-b"), locks.held("aliases-a"):
        assert not locks.is_held("recipe-c")


def test_a_name_that_could_be_a_path_is_refused(locks: Locks) -> None:
    with pytest.raises(ValueError, match="named"), locks.held("recipe-../x"):
        pass


def test_a_holder_whose_connection_ended_takes_the_lock_again(cluster: PostgresCluster) -> None:
    with recipe_lease(PostgresLocks(cluster.url), "r"):
        end_sessions(cluster)

        check_lease("r")

        assert PostgresLocks(cluster.url).is_held("recipe-r")


def test_a_holder_notices_that_another_process_had_the_lock_meanwhile(cluster: PostgresCluster) -> None:
    locks = PostgresLocks(cluster.url)
    with recipe_lease(locks, "r"):
        end_sessions(cluster)
        with locks.held("recipe-r", wait_seconds=5):
            pass

        with pytest.raises(LeaseLost, match="another process had it meanwhile"):
            check_lease("r")


def test_a_holder_notices_that_another_process_has_the_lock_now(cluster: PostgresCluster) -> None:
    locks = PostgresLocks(cluster.url)
    with recipe_lease(locks, "r"):
        end_sessions(cluster)
        with (
            locks.held("recipe-r", wait_seconds=5),
            pytest.raises(LeaseLost, match=f"held by process {os.getpid()}"),
        ):
            check_lease("r")


def test_a_holder_survives_a_restart_of_the_server(cluster: PostgresCluster) -> None:
    with recipe_lease(PostgresLocks(cluster.url), "r"):
        cluster.kill()
        with ThreadPoolExecutor() as pool:
            checked = pool.submit(check_lease, "r")
            time.sleep(1)
            assert not checked.done()
            cluster.start()  # in this thread: the server ends with the thread that started it

        checked.result()
        assert PostgresLocks(cluster.url).is_held("recipe-r")


def test_no_server_is_one_clear_error_without_the_password() -> None:
    locks = PostgresLocks("postgresql://burnish:hush-hush@127.0.0.1:1/none")

    with pytest.raises(ServerError, match="lock database") as error, locks.held("recipe-r"):
        pass

    assert "hush-hush" not in str(error.value)


def test_many_who_meet_a_fresh_database_do_not_disturb_each_other(cluster: PostgresCluster) -> None:
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE fresh")
    locks = PostgresLocks(cluster.url.replace("/postgres", "/fresh"))

    def take(number: int) -> None:
        with locks.held(f"recipe-{number % 4}", wait_seconds=10):
            pass

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(take, range(12))) == [None] * 12


def test_the_three_databases_are_made_once_however_many_ask(cluster: PostgresCluster, tmp_path: Path) -> None:
    from configs.settings import settings_from
    from tasks.storage.postgres_databases import prepare_databases

    settings = settings_from({"BURNISH_POSTGRES_URL": cluster.url}, project_root=tmp_path)

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(prepare_databases, [settings] * 6))

    assert sorted(name for names in made for name in names) == ["burnish_mlflow", "burnish_optuna", "burnish_prefect"]
    assert settings.lock_database is not None
    with PostgresLocks(settings.lock_database).held("recipe-r"):
        pass
