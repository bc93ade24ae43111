"""The Console's answers about ends elsewhere, checked before anything is made of them.

They name what others' hosts run, so their texts come from whoever labels a container there.
"""

from ipaddress import ip_network

from cnnf.policy.addresses import parse_address
from cnnf.protocol import limits
from cnnf.protocol.codec import decode_json
from cnnf.protocol.errors import MalformedMessage, MessageTooLarge
from cnnf.protocol.messages import Answer, Answers, Known, Stale


def decode_answers(data: bytes) -> Answers:
    """The answers in these bytes. Raises MalformedMessage or MessageTooLarge."""
    if len(data) > limits.ANSWERS_BYTES_MAX:
        raise MessageTooLarge(f"answers: {len(data)} bytes, at most {limits.ANSWERS_BYTES_MAX}")
    answers = decode_json(data, Answers)
    _check_generation(answers.generation)
    _check_length("answers", len(answers.answers), limits.SOUGHT_MAX)
    _check_length("public", len(answers.public), limits.PUBLIC_MAX)
    for answer in answers.answers:
        _check_answer(answer)
    for text in answers.public:
        try:
            ip_network(text)
        except ValueError as error:
            raise MalformedMessage(f"answers: public: {text!r:.80} is no network") from error
    return answers


def decode_stale(data: str) -> Stale:
    """What has become stale. Raises MalformedMessage or MessageTooLarge."""
    stale = decode_json(data, Stale)
    _check_generation(stale.generation)
    _check_length("stale", len(stale.addresses), limits.STALE_MAX)
    for address in stale.addresses:
        _check_address(address)
    return stale


def _check_answer(answer: Answer) -> None:
    _check_address(answer.address)
    if not 0 <= answer.port <= 65_535:
        raise MalformedMessage(f"answers: port {answer.port} is out of range")
    _check_length("candidates", len(answer.candidates), limits.CANDIDATES_TOLD_MAX)
    for known in answer.candidates:
        _check_known(known)


def _check_known(known: Known) -> None:
    if not known.name:
        raise MalformedMessage("answers: a candidate without a name")
    texts = (known.name, known.host, known.tag, known.digest, known.cluster, known.namespace)
    _check_length("a name", max(map(len, texts)), limits.NAME_CHARS_MAX)
    _check_length("labels", len(known.labels), limits.LABELS_MAX)
    for key, value in known.labels.items():
        _check_length("a label", max(len(key), len(value)), limits.LABEL_CHARS_MAX)


def _check_generation(generation: int) -> None:
    if not 0 <= generation < 2**63:
        raise MalformedMessage(f"answers: generation {generation} is out of range")


def _check_address(text: str) -> None:
    try:
        parse_address(text)
    except ValueError as error:
        raise MalformedMessage(f"answers: {text!r:.80} is no address") from error


def _check_length(where: str, length: int, bound: int) -> None:
    if length > bound:
        raise MessageTooLarge(f"answers: {where}: {length}, at most {bound}")
