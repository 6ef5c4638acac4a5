"""`schemas/asyncapi.yaml` says what the topics are: held against AsyncAPI 3, the table of topics, and the schemas."""

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dosestream.embedded.jars import cache_folder
from dosestream.events.schemas import NAMES, folder
from dosestream.kafka.topics import TOPICS, TopicSpec
from dosestream.settings import KafkaSettings

Document = dict[str, Any]
FILE = folder() / "asyncapi.yaml"
DOCUMENT: Document = yaml.safe_load(FILE.read_text())
CHANNELS: dict[str, Document] = {one["address"]: one for one in DOCUMENT["channels"].values()}
SAID = ("x-key", "x-order", "x-retention", "x-tombstones", "x-repeats")
# Where `.ci/run` puts the AsyncAPI Initiative's parser; node finds it there.
PARSER = Path(os.environ.get("DOSESTREAM_ASYNCAPI") or cache_folder() / "asyncapi")


def at(document: Document, reference: str) -> Any:
    """What a `$ref` inside the document points to."""
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


@pytest.fixture(scope="module")
def parsed() -> Callable[[Path], Document]:
    """Runs the parser over a file."""
    node = shutil.which("node")
    if node is None or not (PARSER / "node_modules" / "@asyncapi" / "parser").is_dir():
        pytest.skip(
            "node or the AsyncAPI parser is missing: npm install --prefix FOLDER "
            "@asyncapi/parser @asyncapi/avro-schema-parser, and DOSESTREAM_ASYNCAPI=FOLDER"
        )

    def run(file: Path) -> Document:
        script = Path(__file__).with_name("asyncapi.cjs")
        command = [node, str(script), str(PARSER), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: Document = json.loads(done.stdout)
        return found

    return run


@pytest.mark.slow
def test_the_parser_of_asyncapi_finds_nothing_wrong(parsed: Callable[[Path], Document]) -> None:
    found = parsed(FILE)
    assert found["problems"] == []
    assert set(found["addresses"]) == {str(spec.name) for spec in TOPICS}
    assert sum("avro" in one for one in found["formats"]) == len(TOPICS) - 1


BROKEN: dict[str, Callable[[Document], None]] = {
    "an operation that is neither send nor receive": lambda d: d["operations"]["publishDose"].update(
        action="tell"
    ),
    "a channel of an operation that is not there": lambda d: d["channels"].pop("dose"),
    "a retention that is no number": lambda d: d["channels"]["dose"]["bindings"]["kafka"][
        "topicConfiguration"
    ].update({"retention.ms": "long"}),
    "a schema that is no Avro": lambda d: d["components"]["messages"]["dose"]["payload"].update(
        schema={"type": "record", "name": "Dose"}
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_the_parser_of_asyncapi_finds_what_is_wrong(
    parsed: Callable[[Path], Document], broken: Callable[[Document], None], tmp_path: Path
) -> None:
    for schema in folder().glob("*.avsc"):
        shutil.copy(schema, tmp_path)
    document = copy.deepcopy(DOCUMENT)
    broken(document)
    (tmp_path / "asyncapi.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    assert parsed(tmp_path / "asyncapi.yaml")["problems"] != []


def test_every_topic_has_a_channel_and_every_channel_a_topic() -> None:
    assert sorted(CHANNELS) == sorted(str(spec.name) for spec in TOPICS)
    assert len(CHANNELS) == len(DOCUMENT["channels"])


@pytest.mark.parametrize("spec", TOPICS, ids=lambda spec: str(spec.name))
def test_a_channel_is_the_topic_of_the_table(spec: TopicSpec) -> None:
    channel = CHANNELS[str(spec.name)]
    binding = channel["bindings"]["kafka"]
    assert binding["topic"] == spec.name
    assert binding["partitions"] == spec.site_partitions
    said = {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in binding["topicConfiguration"].items()
    }
    made = spec.config(KafkaSettings().max_record_bytes)
    del made["max.message.bytes"]  # the site's cap
    # Brokers may add settings of a kind that subscribers need not know.
    assert said == {name: made[name] for name in said}
    assert {"cleanup.policy", "retention.ms"} <= said.keys()
    assert ("delete.retention.ms" in said) == (spec.tombstone_ms is not None)


@pytest.mark.parametrize("spec", TOPICS, ids=lambda spec: str(spec.name))
def test_a_channel_says_what_a_subscriber_has_to_know(spec: TopicSpec) -> None:
    channel = CHANNELS[str(spec.name)]
    assert [name for name in SAID if not channel.get(name)] == []
    assert channel["x-audience"] in ("subscribers", "facts", "internal")
    assert ("compacted" in channel["x-retention"]) == spec.compacted
    assert ("without value" in channel["x-tombstones"]) == (spec.tombstone_ms is not None)


@pytest.mark.parametrize("spec", TOPICS, ids=lambda spec: str(spec.name))
def test_a_channels_payload_is_the_schema_of_the_topic(spec: TopicSpec) -> None:
    (message,) = CHANNELS[str(spec.name)]["messages"].values()
    payload = at(DOCUMENT, message["$ref"])["payload"]
    if spec.schema is None:
        assert payload["type"] == "object"
        return
    assert payload["schemaFormat"].startswith("application/vnd.apache.avro")
    file = FILE.parent / payload["schema"]["$ref"]
    assert file.samefile(folder() / f"{spec.schema}.avsc")


def test_every_schema_is_a_message_of_a_channel() -> None:
    messages = {
        message["$ref"].rsplit("/", 1)[-1]
        for channel in CHANNELS.values()
        for message in channel["messages"].values()
    }
    assert messages == {*NAMES, "schemaText"} == set(DOCUMENT["components"]["messages"])


def test_every_channel_has_an_operation() -> None:
    told = {operation["channel"]["$ref"].rsplit("/", 1)[-1] for operation in DOCUMENT["operations"].values()}
    assert told == set(DOCUMENT["channels"])
