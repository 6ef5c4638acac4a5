"""No bytes crash, hang or swell the way of a message: guided by coverage where atheris is installed."""

import base64
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seeds import HEAD, SPOKEN, write_seeds, write_words
from way import pass_through

from dosestream.hl7.framing import frame

HERE = Path(__file__).parent

# A single input may take so long, and the process so much memory; beyond, libFuzzer ends it with an error.
HANG_S = 10
RSS_MB = 1024

RUNS = [
    pytest.param(60, id="for a minute", marks=pytest.mark.timeout(200)),
    pytest.param(600, id="for ten minutes", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
]


# What fuzzing found, each once a fault.
FOUND = [
    pytest.param(
        b"MSH|^~\\&|R\x1cIS|HOSP|DS|CITY|2026||ADT^A08|1\x1c|P|2.5\rPID|||1\r",
        id="an end byte outside a frame",
    ),
]


@pytest.mark.parametrize("data", FOUND)
def test_what_was_found_passes(data: bytes) -> None:
    pass_through(b"\0\xff" + data)


def test_every_seed_passes(tmp_path: Path) -> None:
    write_seeds(tmp_path)
    found = sorted(tmp_path.iterdir())
    assert len(found) > len(SPOKEN)
    for seed in found:
        pass_through(seed.read_bytes())


bodies = st.sampled_from(
    [
        (HEAD.format(kind=kind, version=version, asks=asks, charset=charset) + rest).encode("latin-1")
        for kind, rest, version, asks, charset in SPOKEN
    ]
)
# Where a message is changed, how much is taken away, and what is put there.
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.binary(max_size=6)), max_size=6)


@settings(deadline=None)
@given(bodies, edits, st.binary(min_size=2, max_size=2))
def test_no_change_of_a_message_breaks_its_way(
    body: bytes, changes: list[tuple[float, int, bytes]], how: bytes
) -> None:
    for place, length, put in changes:
        at = int(place * len(body))
        body = body[:at] + put + body[at + length :]
    pass_through(how + frame(body))


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_at_all_break_their_way(data: bytes) -> None:
    pass_through(data)


@pytest.mark.parametrize("seconds", RUNS)
def test_fuzzing_finds_nothing(seconds: int, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has no wheel for this Python or machine")
    seeds, grown, words = tmp_path / "seeds", tmp_path / "grown", tmp_path / "words"
    seeds.mkdir()
    grown.mkdir()
    write_seeds(seeds)
    write_words(words)
    options = {
        "max_total_time": seconds,
        "timeout": HANG_S,
        "rss_limit_mb": RSS_MB,
        "max_len": 8192,
        "dict": words,
        "artifact_prefix": f"{tmp_path}/",
    }
    done = subprocess.run(
        [
            # The peak of memory is inherited by what a process becomes: behind a shell's own fork it is the harness's.
            *("sh", "-c", '"$@"; exit $?', "sh"),
            *(sys.executable, str(HERE / "harness.py")),
            *(f"-{name}={value}" for name, value in options.items()),
            *(str(grown), str(seeds)),
        ],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]),
        },
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    inputs = [base64.b64encode(path.read_bytes()) for path in tmp_path.glob("*-*")]
    assert done.returncode == 0, f"{inputs}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs is not None
    assert int(runs[1]) > 1000, done.stderr[-2000:]
    # What it found new was reached: the harness is guided, not blind.
    assert any(grown.iterdir())
