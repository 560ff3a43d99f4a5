"""Prefect's own transactions on SQLite: one that reads before it writes waits for another writer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.exc import OperationalError

from tasks.servers.guarded_apps import _let_sqlite_writers_wait


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AioSqliteConfiguration:
    monkeypatch.setattr(AioSqliteConfiguration, "begin_transaction", AioSqliteConfiguration.begin_transaction)
    return AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}")


async def _clash(configuration: AioSqliteConfiguration) -> int:
    """One transaction reads, another one writes, the first one writes; the number of rows in the end."""
    engine = await configuration.engine()
    async with engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE numbers (number INTEGER)"))

    async def write(*, reads_for_seconds: float, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        session = await configuration.session(engine)
        async with session, configuration.begin_transaction(session):
            if reads_for_seconds:
                await session.execute(sa.text("SELECT count(*) FROM numbers"))
                await asyncio.sleep(reads_for_seconds)
            await session.execute(sa.text("INSERT INTO numbers VALUES (1)"))

    await asyncio.gather(
        write(reads_for_seconds=1.0, after_seconds=0.0), write(reads_for_seconds=0.0, after_seconds=0.3)
    )
    session = await configuration.session(engine)
    async with session:
        count = int((await session.execute(sa.text("SELECT count(*) FROM numbers"))).scalar_one())
    await engine.dispose()
    return count


def test_who_reads_first_still_gets_to_write(configuration: AioSqliteConfiguration) -> None:
    _let_sqlite_writers_wait()

    assert asyncio.run(_clash(configuration)) == 2


def test_a_session_inside_a_transaction_does_not_wait_for_it(configuration: AioSqliteConfiguration) -> None:
    _let_sqlite_writers_wait()

    async def nest() -> int:
        engine = await configuration.engine()
        outer, inner = await configuration.session(engine), await configuration.session(engine)
        async with outer, inner, configuration.begin_transaction(outer):
            await outer.execute(sa.text("CREATE TABLE numbers (number INTEGER)"))
            read = inner.execute(sa.text("SELECT count(*) FROM sqlite_master"))
            return int((await asyncio.wait_for(read, timeout=20)).scalar_one())

    assert asyncio.run(nest()) == 0


def test_prefect_alone_would_be_refused(configuration: AioSqliteConfiguration) -> None:
    """When this fails, Prefect waits by itself, and `_let_sqlite_writers_wait` can go."""
    with pytest.raises(OperationalError, match="database is locked"):
        asyncio.run(_clash(configuration))
