"""What can go wrong on the way to the Console.

LinkError
├── EnrolmentFailed   the Console did not give us a certificate; the text says why
└── CredentialsBroken our own files are missing, unreadable or not what they should be
"""


class LinkError(Exception):
    """The Console can't be reached or does not take what we send."""


class EnrolmentFailed(LinkError):
    """The Console gave no certificate."""


class CredentialsBroken(LinkError):
    """Our key, certificate or address of the Console can't be used."""
