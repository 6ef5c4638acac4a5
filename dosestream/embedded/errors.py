"""What can go wrong with the machine the stack runs on."""


class StackError(Exception):
    """The stack cannot start or go on. The text is one sentence, for a person, that says what to do."""
