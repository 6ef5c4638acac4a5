"""The topics of a cluster as they are, and changes made to them."""

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from dosestream.kafka.admin import BrokerAwayError
from dosestream.kafka.client import admin_config
from dosestream.kafka.plan import Change, HeldTopic, Risk
from dosestream.kafka.wanted import WantedTopic
from dosestream.settings import KafkaSettings

TIMEOUT_S = 30.0


class RefusedError(Exception):
    """The cluster answered, and will not: the sentence says to what and why."""


class Cluster:
    """One administrator's connection. Methods raise BrokerAwayError where the cluster does not answer in time,
    RefusedError where it says no."""

    def __init__(self, kafka: KafkaSettings, timeout_s: float = TIMEOUT_S) -> None:
        self._kafka, self._timeout_s = kafka, timeout_s
        self._admin: Any = AdminClient(admin_config(kafka))

    def held(self, names: Iterable[str]) -> dict[str, HeldTopic]:
        """Those of the topics that exist."""
        try:
            listed = self._admin.list_topics(timeout=self._timeout_s).topics
        except KafkaException as error:
            raise self._error("the topics", error) from error
        there = [name for name in names if name in listed]
        configs = self._configs(there)
        return {
            name: HeldTopic(
                len(listed[name].partitions),
                # A topic that is being moved has more copies for a while.
                min(len(one.replicas) for one in listed[name].partitions.values()),
                configs[name],
            )
            for name in there
        }

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
            self._settle("making", self._admin.create_topics(asked, operation_timeout=self._timeout_s))
        if more:
            self._settle(
                "partitions of",
                self._admin.create_partitions([NewPartitions(one.name, one.partitions) for one in more]),
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
            asked_of = self._admin.incremental_alter_configs(resources)
            self._settle("configuring", {one.name: future for one, future in asked_of.items()})

    def _configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        asked = self._admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
        found = self._settle("configuration of", {one.name: future for one, future in asked.items()})
        return {
            name: {key: entry.value for key, entry in entries.items() if entry.value is not None}
            for name, entries in found.items()
        }

    def _settle(self, doing: str, futures: Mapping[str, Any]) -> dict[str, Any]:
        """The answers; the first error is raised."""
        found = {}
        for name, future in futures.items():
            try:
                found[name] = future.result(timeout=self._timeout_s)
            except KafkaException as error:
                raise self._error(f"{doing} {name}", error) from error
        return found

    def _error(self, doing: str, error: KafkaException) -> Exception:
        return told(self._kafka, doing, error)


def told(kafka: KafkaSettings, doing: str, error: KafkaException) -> Exception:
    """The error as one of ours: a cluster that is away, or one that says no."""
    reason = error.args[0]
    if reason.code() < 0 or reason.retriable():
        return BrokerAwayError(f"Kafka at {kafka.bootstrap} does not answer: {reason.str()}")
    return RefusedError(f"Kafka at {kafka.bootstrap} refuses {doing}: {reason.str()}")
