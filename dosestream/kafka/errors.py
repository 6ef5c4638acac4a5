"""Errors of servers, apart from their clients, so that the command line knows them without loading those."""


class BrokerAwayError(Exception):
    """The broker did not answer in time: check the address, start it, then try again."""
