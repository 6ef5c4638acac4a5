"""The reconciler's live shell leaves nothing on disk."""

import asyncio
from pathlib import Path

import pytest

from dosestream.settings import KafkaSettings
from services.reconciler.shell import subscribe


def test_a_start_makes_no_folder_where_it_happens_to_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def start() -> None:
        app, _ = subscribe(KafkaSettings(), "group", "member", dict, lambda: None)
        await app.on_first_start()

    asyncio.run(start())
    assert not list(tmp_path.iterdir())
