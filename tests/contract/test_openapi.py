"""The API does what its document says, and the document is the committed one."""

from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi import checks

from cnnf.console.api import reference
from cnnf.console.api.applications import document
from tests.contract.conftest import RunningConsole

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
#: Examples per operation; the whole test stays under half a minute.
EXAMPLES = 12
CHECKS: list[CheckFunction] = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
schema = schemathesis.openapi.from_dict(document())


@(
    schema.exclude(path_regex="/stream$")
    .exclude(
        # Ends the very session, and would use up the attempts.
        path_regex="/session$"
    )
    .parametrize()
)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_documented(case: schemathesis.Case[Any], console: RunningConsole) -> None:
    token = (console.data_dir / "cli-token").read_text().strip()
    answer = case.call(base_url=console.url, headers={"Authorization": f"Bearer {token}"})
    if answer.status_code == 429:
        return
    case.validate_response(answer, checks=CHECKS)


def test_the_reference_is_the_committed_one() -> None:
    for name, text in reference.files().items():
        assert (REFERENCE / name).read_text(encoding="utf-8") == text, (
            f"docs/reference/{name} is out of date: "
            "run `python -m cnnf.console.api.reference docs/reference`"
        )


def test_every_operation_documents_its_errors() -> None:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    content = answer["content"]["application/json"]["schema"]["$ref"]
                    assert content.endswith("/ErrorBody"), (method, path, status)
            assert "422" not in operation["responses"], path
            assert operation.get("summary"), (method, path)


def test_schemas_are_called_by_one_word() -> None:
    """Two types of one name would get those of their modules, and the pages' types others."""
    names = document()["components"]["schemas"]
    assert [name for name in names if "_" in name or "." in name] == []
