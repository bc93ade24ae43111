"""What of a policy this Defender can enforce. The one place that knows; whoever has one asks here.

A rule that never matches, and nobody is told, is worse than none: such a policy is refused whole.
"""

from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.form import parse_policy
from cnnf.policy.rules import Policy
from cnnf.protocol.messages import PolicyDocument


def compile_enforceable(policy: Policy, now_ms: int, subject: str) -> Compiled:
    """The policy as it is enforced at that time; `subject` is what a refusal calls it.

    Raises InvalidValueError.
    """
    compiled = compile_policy(policy, now_ms)
    if "dns" in compiled.uses:
        raise InvalidValueError(
            f"{subject}: an enabled rule names a dns object, which is not enforced yet; "
            "use a subnet object, or disable the rule"
        )
    return compiled


def read_document(document: PolicyDocument, now_ms: int) -> tuple[Policy, Compiled]:
    """The policy that the Console has told, and as it is enforced now. Raises PolicyError."""
    subject = f"generation {document.generation}"
    policy = document.policy or parse_policy(document.text, subject=subject)
    compiled = compile_enforceable(policy, now_ms, subject)
    # The digest is of all rules; of those that have expired meanwhile nothing is compiled.
    if document.digest not in (compiled.digest, compile_policy(policy).digest):
        raise InvalidValueError(
            f"{subject}: it means something else here than in the Console, whose digest is "
            f"{document.digest!r:.40}: are Defender and Console of one version?"
        )
    return policy, compiled
