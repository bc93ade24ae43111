"""What can go wrong between us and the kernel.

KernelError
├── MissingProgram      a program we need is not installed; the text says which package has it
├── NotPermitted        privileges are missing; never retry as this user
├── AlreadyRunning      another Defender owns this network namespace
└── ProgrammingFailed   a rule, set or link could not be changed; retry later
"""


class KernelError(Exception):
    """The kernel did not take what we asked for; the text says what and why."""


class MissingProgram(KernelError):
    """A program we need is not installed."""


class NotPermitted(KernelError):
    """Privileges are missing."""


class AlreadyRunning(KernelError):
    """Another Defender works in this network namespace."""


class ProgrammingFailed(KernelError):
    """A change was refused; the kernel holds what it held before."""
