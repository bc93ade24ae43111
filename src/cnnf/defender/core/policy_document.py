"""What the Console tells is taken only where it means here what it means there."""

from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.form import parse_policy
from cnnf.policy.rules import Policy
from cnnf.protocol.messages import PolicyDocument


def read_document(document: PolicyDocument, now_ms: int) -> tuple[Policy, Compiled]:
    """The policy that the Console has told, and as it is enforced now. Raises PolicyError."""
    subject = f"generation {document.generation}"
    policy = document.policy or parse_policy(document.text, subject=subject)
    compiled = compile_policy(policy, now_ms)
    # The digest is of all rules; of those that have expired meanwhile nothing is compiled. It takes
    # as long as all else together to compile once more, so that is done only where it matters.
    if document.digest != compiled.digest and document.digest != compile_policy(policy).digest:
        raise InvalidValueError(
            f"{subject}: it means something else here than in the Console, whose digest is "
            f"{document.digest!r:.40}: are Defender and Console of one version?"
        )
    return policy, compiled
