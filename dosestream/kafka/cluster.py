"""The topics of a cluster as they are, and changes made to them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from dosestream.kafka.administration import TIMEOUT_S, Administration, RefusedError
from dosestream.kafka.plan import Change, HeldTopic, Risk
from dosestream.kafka.wanted import WantedTopic
from dosestream.settings import KafkaSettings


class Cluster:
    """Methods raise BrokerAwayError where the cluster does not answer in time, RefusedError where it says no."""

    def __init__(self, kafka: KafkaSettings, timeout_s: float = TIMEOUT_S) -> None:
        self._administration = Administration(kafka, timeout_s)

    def held(self, names: Iterable[str]) -> dict[str, HeldTopic]:
        """Those of the topics that exist."""
        held = self._listed(names)
        configs = self._configs(list(held))
        return {name: replace(one, config=configs[name]) for name, one in held.items()}

    def seen(self, names: Iterable[str]) -> tuple[dict[str, HeldTopic], str]:
        """Those of the topics that exist and may be seen; and why they are without configuration, empty where they have
        theirs. Raises BrokerAwayError only."""
        held = self._listed(names)
        try:
            configs = self._configs(list(held))
        except RefusedError as error:
            return held, str(error)
        return {name: replace(one, config=configs[name]) for name, one in held.items()}, ""

    def make(self, changes: Iterable[Change], wanted: Mapping[str, WantedTopic]) -> None:
        """Make these changes; those that no broker can make are left out."""
        todo = [one for one in changes if one.risk is not Risk.BY_HAND]
        new = [wanted[one.topic] for one in todo if one.setting == "topic"]
        more = [wanted[one.topic] for one in todo if one.setting == "partitions"]
        rest = [one for one in todo if one.setting not in ("topic", "partitions")]
        if new:
            asked = [
                NewTopic(one.name, one.partitions, one.replication, config=dict(one.config)) for one in new
            ]
            self._settle_all(
                "to make",
                self._administration.client.create_topics(
                    asked, operation_timeout=self._administration.timeout_s
                ),
            )
        if more:
            self._settle_all(
                "more partitions of",
                self._administration.client.create_partitions(
                    [NewPartitions(one.name, one.partitions) for one in more]
                ),
            )
        entries: dict[str, list[Any]] = {}
        for one in rest:
            entry = ConfigEntry(one.setting, one.wanted, incremental_operation=AlterConfigOpType.SET)
            entries.setdefault(one.topic, []).append(entry)
        if entries:
            resources = [
                ConfigResource(ResourceType.TOPIC, name, incremental_configs=sets)
                for name, sets in entries.items()
            ]
            asked_of = self._administration.client.incremental_alter_configs(resources)
            self._settle_all("to configure", {one.name: future for one, future in asked_of.items()})

    def _listed(self, names: Iterable[str]) -> dict[str, HeldTopic]:
        """Without their configuration."""
        listed = self._administration.topics()
        return {
            name: HeldTopic(
                len(listed[name].partitions),
                # A topic that is being moved has more copies for a while.
                min((len(one.replicas) for one in listed[name].partitions.values()), default=0),
                {},
            )
            for name in names
            if name in listed
        }

    def _configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        asked = self._administration.client.describe_configs(
            [ConfigResource(ResourceType.TOPIC, name) for name in names]
        )
        found = self._settle_all("the configuration of", {one.name: future for one, future in asked.items()})
        return {
            name: {key: entry.value for key, entry in entries.items() if entry.value is not None}
            for name, entries in found.items()
        }

    def _settle_all(self, doing: str, futures: Mapping[str, Any]) -> dict[str, Any]:
        """The answers by topic; the first error is raised."""
        settle = self._administration.settle
        return {name: settle(f"{doing} {name}", future) for name, future in futures.items()}
