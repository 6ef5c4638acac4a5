"""The stack on one machine: Apache Kafka and PostgreSQL as child processes, and the supervisor over them."""
