"""What can go wrong on the way to the Console.

LinkError
├── EnrolmentFailed   the Console did not give us a certificate; the text says why
├── RenewalFailed     the Console did not give us the next certificate; tried again later
├── CredentialsBroken our own files are missing, unreadable or not what they should be
├── DirectoryUnreachable  nobody can be asked about ends elsewhere; asked again later
├── PolicyUnreachable the policy can't be fetched; tried again later
├── QuestionRefused   the Console will not answer this question; never asked again as it is
└── SpoolFailed       what waits for the Console can't be kept on disk, or not be read back
"""


class LinkError(Exception):
    """The Console can't be reached or does not take what we send."""


class EnrolmentFailed(LinkError):
    """The Console gave no certificate; `hint` says what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class RenewalFailed(LinkError):
    """The Console gave no next certificate."""


class DirectoryUnreachable(LinkError):
    """The Console did not answer who stands at ends elsewhere; the text says why."""


class PolicyUnreachable(LinkError):
    """The Console did not give the policy that it had told of; the text says why."""


class QuestionRefused(LinkError):
    """The Console will not say who stands there; the text says why."""


class CredentialsBroken(LinkError):
    """Our key, certificate or address of the Console can't be used."""


class SpoolFailed(LinkError):
    """The spool's directory or one of its segments can't be used; `full` when the disk is."""

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full
