"""What can be wrong with what a person asked for.

PolicyError
└── InvalidValueError   a value is outside what it may be; the text says which and why
"""


class PolicyError(Exception):
    """What was asked for can't be done; nothing has changed."""


class InvalidValueError(PolicyError):
    """A value is outside what it may be."""
