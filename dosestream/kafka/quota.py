"""Limits of a user, as the line of Kafka's own tool: confluent-kafka has no call for them. Pure."""

from collections.abc import Mapping


def command(bootstrap: str, user: str, limits: Mapping[str, float]) -> str:
    """`kafka-configs` that sets the limits above 0; each holds per broker (Apache Kafka, "Quotas": bytes a second,
    and percent of a request handler thread's time).

    `admin.properties` is the administrator's client configuration (docs/kafka.md).
    """
    sets = ",".join(f"{name}={limit:.0f}" for name, limit in limits.items() if limit > 0)
    line = f"kafka-configs --bootstrap-server {bootstrap} --command-config admin.properties --alter"
    return f"{line} --entity-type users --entity-name {user} --add-config {sets}"
