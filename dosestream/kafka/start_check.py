"""A service looks at its topics when it starts: what is wrong is told in the log, and one that is missing makes it
unready until it is there.

One request for the topics and one for their configuration, on a thread of its own. Where the user may not ask for
configuration, it is not judged.
"""

import logging
import threading
from typing import Final

from dosestream.kafka.cluster import Cluster
from dosestream.kafka.errors import BrokerAwayError
from dosestream.kafka.fitness import faults, used
from dosestream.settings import KafkaSettings

log = logging.getLogger("dosestream.topics")

# What the brokers have to answer; where they do not, or a topic is missing, it is looked again so much later.
ANSWER_S: Final = 10.0
AGAIN_S: Final = 5.0


class StartCheck:
    """`start()` once; as a health check it names the topics that are missing. A quiet one tells nothing in the log, for
    processes that are one of several."""

    def __init__(
        self, kafka: KafkaSettings, service: str, *, quiet: bool = False, again_s: float = AGAIN_S
    ) -> None:
        self._kafka = kafka
        self._wanted = used(service, kafka)
        self._quiet = quiet
        self._again_s = again_s
        self._missing: frozenset[str] = frozenset()

    def __call__(self) -> str:
        """Empty where no topic is missing, or the brokers have not answered yet, which others tell."""
        return f"topics are missing: {', '.join(sorted(self._missing))}" if self._missing else ""

    def start(self) -> None:
        """Look, on a thread that ends once everything is there."""
        threading.Thread(target=self._look, name="topics", daemon=True).start()

    def _look(self) -> None:
        cluster = Cluster(self._kafka, ANSWER_S)
        wait, left, refused = threading.Event(), self._wanted, ""
        while left:
            try:
                held, refusal = cluster.seen(one.name for one in left)
            except BrokerAwayError:
                wait.wait(self._again_s)
                continue
            found = faults(left, held)
            missing = frozenset(one.topic for one in found if one.is_missing)
            if not self._quiet:
                for fault in found:
                    # That a topic is still missing is no news.
                    if not (fault.is_missing and fault.topic in self._missing):
                        log.error("%s", fault.text)
                if refusal and not refused:
                    log.info("the configuration of the topics is not looked at: %s", refusal)
                if came := self._missing - missing:
                    log.info("now there: %s", ", ".join(sorted(came)))
            self._missing, refused = missing, refused or refusal
            left = [one for one in left if one.name in missing]
            if left:
                wait.wait(self._again_s)
