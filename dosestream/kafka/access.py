"""ACLs and passwords on the cluster: read, added, removed."""

from collections.abc import Iterable
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from dosestream.kafka.acl import Acl, Grant, Operation, Resource
from dosestream.kafka.administration import TIMEOUT_S, Administration
from dosestream.settings import KafkaSettings

# RFC 5802 asks for 4096 at least; Kafka's tools take 4096 too.
ITERATIONS = 8192
ANY_HOST = "*"

# librdkafka calls the cluster, whose number in the protocol is 4, a broker.
RESOURCES: dict[Resource, Any] = {
    Resource.TOPIC: ResourceType.TOPIC,
    Resource.GROUP: ResourceType.GROUP,
    Resource.CLUSTER: ResourceType.BROKER,
}
OPERATIONS: dict[Operation, Any] = {
    Operation.READ: AclOperation.READ,
    Operation.WRITE: AclOperation.WRITE,
    Operation.CREATE: AclOperation.CREATE,
    Operation.DELETE: AclOperation.DELETE,
    Operation.ALTER: AclOperation.ALTER,
    Operation.DESCRIBE: AclOperation.DESCRIBE,
    Operation.DESCRIBE_CONFIGS: AclOperation.DESCRIBE_CONFIGS,
    Operation.ALTER_CONFIGS: AclOperation.ALTER_CONFIGS,
}


class Access:
    """Methods raise BrokerAwayError where the cluster does not answer in time, RefusedError where it says no."""

    def __init__(self, kafka: KafkaSettings, timeout_s: float = TIMEOUT_S) -> None:
        self._administration = Administration(kafka, timeout_s)

    def held(self, principals: Iterable[str]) -> list[Acl]:
        """What these principals are allowed, from any host; what was written in other words than ours (an
        operation `All`, a denial, a host) is not among it and is left alone."""
        found: list[Acl] = []
        for principal in dict.fromkeys(principals):
            wanted = AclBindingFilter(
                ResourceType.ANY,
                None,
                ResourcePatternType.ANY,
                principal,
                None,
                AclOperation.ANY,
                AclPermissionType.ALLOW,
            )
            future = self._administration.client.describe_acls(
                wanted, request_timeout=self._administration.timeout_s
            )
            found += filter(None, (_read(one) for one in self._administration.settle("to show ACLs", future)))
        return found

    def add(self, acls: Iterable[Acl]) -> None:
        """Allow these."""
        if bindings := [AclBinding(*_parts(one)) for one in acls]:
            answers = self._administration.client.create_acls(
                bindings, request_timeout=self._administration.timeout_s
            )
            for binding, future in answers.items():
                self._administration.settle(f"an ACL of {binding.principal}", future)

    def remove(self, acls: Iterable[Acl]) -> None:
        """Allow these no longer."""
        if filters := [AclBindingFilter(*_parts(one)) for one in acls]:
            answers = self._administration.client.delete_acls(
                filters, request_timeout=self._administration.timeout_s
            )
            for one, future in answers.items():
                self._administration.settle(f"the removal of an ACL of {one.principal}", future)

    def set_password(self, user: str, password: str) -> None:
        """Make a SCRAM-SHA-512 user, or give it another password."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
        asked = [UserScramCredentialUpsertion(user, info, password.encode())]
        answers = self._administration.client.alter_user_scram_credentials(
            asked, request_timeout=self._administration.timeout_s
        )
        for name, future in answers.items():
            self._administration.settle(f"a password of {name}", future)


def _parts(acl: Acl) -> tuple[Any, ...]:
    """What the broker's binding and its filter alike are made of."""
    grant = acl.grant
    return (
        RESOURCES[grant.resource],
        grant.name,
        ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL,
        acl.principal,
        ANY_HOST,
        OPERATIONS[grant.operation],
        AclPermissionType.ALLOW,
    )


def _read(binding: Any) -> Acl | None:
    """The binding in our words, None where they have none for it."""
    resource = next((ours for ours, theirs in RESOURCES.items() if theirs == binding.restype), None)
    operation = next((ours for ours, theirs in OPERATIONS.items() if theirs == binding.operation), None)
    patterns = (ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED)
    known = binding.host == ANY_HOST and binding.resource_pattern_type in patterns
    if resource is None or operation is None or not known:
        return None
    prefixed = binding.resource_pattern_type == ResourcePatternType.PREFIXED
    return Acl(binding.principal, Grant(resource, binding.name, operation, prefixed))
