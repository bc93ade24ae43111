"""Command lines never show what looks like a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.masking import mask_command
from cnnf.protocol.limits import COMMAND_CHARS_MAX

S = "S3cret"
AWS = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["mysql", "-uroot", "-pS3cret", "db"], "mysql -uroot -p*** db"),
        (["mysql", "-p", "S3cret"], "mysql -p ***"),
        (["ssh", "-p22", "host"], "ssh -p22 host"),
        (["ssh", "-p", "22", "host"], "ssh -p 22 host"),
        (["x", "--password=S3cret"], "x --password=***"),
        (["x", "--db-password", "S3cret", "y"], "x --db-password *** y"),
        (["x", "--password", "--verbose"], "x --password --verbose"),
        (["x", "--token", "-v"], "x --token -v"),
        (["env", "API_TOKEN=S3cret", "run"], "env API_TOKEN=*** run"),
        (["x", "AWS_SECRET_ACCESS_KEY=S3cret"], "x AWS_SECRET_ACCESS_KEY=***"),
        (["psql", "postgres://me:S3cret@db/x"], "psql postgres://***@db/x"),
        (["sh", "-c", "TOKEN=S3cret curl x"], "sh -c TOKEN=***"),
        (["sh", "-c", "run --password S3cret -v"], "sh -c run --password *** -v"),
        (["curl", "-u", "me:S3cret", "x"], "curl -u *** x"),
        (["curl", "-H", "Authorization: Bearer S3cret"], "curl -H Authorization: ***"),
        (["x", '{"token": "S3cret", "a": 1}'], 'x {"token": "***", "a": 1}'),
        (["redis-cli", "-a", "S3cret"], "redis-cli -a ***"),
        (["x", "--author=me", "--monkey=1"], "x --author=me --monkey=1"),
        (["curl", "https://h/a?b=1&token=S3cret&c=2"], "curl https://h/a?b=1&token=***&c=2"),
        (["nginx", "-g", "daemon off;"], "nginx -g daemon off;"),
        (["x", "http://[::1]:8080/a", "10.0.0.1:80"], "x http://[::1]:8080/a 10.0.0.1:80"),
    ],
)
def test_what_is_shown(command: list[str], shown: str) -> None:
    assert mask_command(command) == shown


@pytest.mark.parametrize(
    "command",
    [
        # Options, in every form.
        ["x", f"--password={S}"],
        ["x", "--password", S],
        ["x", "--password", f"-{S}"],
        ["x", "-password", S],
        ["x", "-p", S],
        ["x", f"-p{S}"],
        ["x", f"--apiKey={S}"],
        ["x", "--client-secret", S],
        ["x", "--auth-token", S],
        ["x", "--license-key", S],
        ["x", f"--set=auth.password={S}"],
        ["x", "--set", f"auth.rootPassword={S}"],
        ["x", "--passphrase", S],
        ["keytool", "-storepass", S],
        ["java", f"-Dspring.datasource.password={S}", "-jar", "x.jar"],
        ["docker", "run", "-e", f"MYSQL_ROOT_PASSWORD={S}", "mysql"],
        ["docker", "run", f"-eMYSQL_ROOT_PASSWORD={S}", "mysql"],
        ["docker", "login", "-u", "me", "-p", S],
        ["xfreerdp", f"/password:{S}"],
        # Variables.
        ["env", f"PGPASSWORD={S}", "psql"],
        ["env", f"MYSQL_PWD={S}", f"SSHPASS={S}", f"REDISCLI_AUTH={S}", "x"],
        ["env", f"GITHUB_PAT={S}", "x"],
        # Short options of programs that are known, wherever they stand, also with digits alone.
        ["mysql", "-p123454321"],
        ["sshpass", "-p", "123454321", "ssh", "x"],
        ["timeout", "5", "mysql", "-p123454321"],
        ["sudo", "/usr/bin/curl", "-u", f"me:{S}", "x"],
        ["curl", f"-ume:{S}", "x"],
        ["curl", "--user", f"me:{S}", "x"],
        ["curl", f"--proxy-user=me:{S}", "x"],
        ["curl", "-b", f"sid={S}", "x"],
        ["ldapsearch", "-w", S],
        ["snmpwalk", "-v2c", "-c", S, "host"],
        ["openssl", "rsa", "-passin", f"pass:{S}"],
        ["smbclient", "-U", f"me%{S}", "//x/y"],
        ["sqlcmd", "-P", S],
        ["aws", "configure", "set", "aws_secret_access_key", S],
        # Headers.
        ["curl", "-H", f"Authorization: Basic {S}"],
        ["curl", "-H", f"authorization:Bearer {S} more{S}"],
        ["curl", f"--header=Authorization: Bearer {S}"],
        ["curl", "-H", f"X-Api-Key: {S}"],
        ["curl", "-H", f"PRIVATE-TOKEN: {S}"],
        ["curl", "-H", f"Cookie: a=1; sid={S}"],
        ["curl", "-H", f"Proxy-Authorization: Digest {S}"],
        ["x", "Bearer", S],
        # URLs and connection strings.
        ["x", f"https://h/?access_token={S}"],
        ["x", f"https://h/?a=1&sig={S}&b=2"],
        ["x", f"https://h/?X-Amz-Signature={S}"],
        ["x", f"https://{S}@h/"],
        ["x", f"amqp://me:{S}/with@and@host/v"],
        ["x", f"redis://:{S}@h:6379/0"],
        ["x", f"--url=mongodb+srv://me:{S}@h/?x=1"],
        ["x", f"Server=db;User Id=me;Password={S};Encrypt=yes"],
        ["x", f"host=db password='{S} {S}' user=me"],
        ["x", f"DefaultEndpointsProtocol=https;AccountKey={S}==;x=y"],
        ["x", f"https://hooks.slack.com/services/T0/B0/{S}"],
        # Structured text.
        ["x", f'{{"a": {{"password": "{S}"}}}}'],
        ["x", f"{{'password': '{S}'}}"],
        ["x", f"password: {S}"],
        ["x", f"a: 1\napi_key: {S}\nb: 2"],
        # Scripts.
        ["sh", "-c", f"mysql -p'{S} {S}' db"],
        ["sh", "-c", f"curl -u me:{S} https://x | jq ."],
        ["sh", "-c", f'export TOKEN="{S} {S}"; run'],
        ["sh", "-c", f"echo a && PGPASSWORD={S} psql -h db"],
        ["sh", "-c", f'curl -H "Authorization: Bearer {S}" https://x'],
        ["bash", "-c", f"redis-cli -a {S} ping"],
    ],
)
def test_nothing_of_a_secret_is_shown(command: list[str]) -> None:
    shown = mask_command(command)
    for secret in (S, "123454321", AWS):
        assert secret not in shown


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        AWS,
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "glpat-abcdefghij0123456789",
        "xoxb-123456789012-abcdefghij",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "sk_live_0123456789abcdefghij",
    ],
)
@pytest.mark.parametrize("around", ["{}", "x:{}", "--at={}", "a {} b", "https://h/{}/x"])
def test_what_is_known_by_its_form_is_masked_wherever_it_stands(secret: str, around: str) -> None:
    if secret == AWS and around == "https://h/{}/x":
        return  # a path of letters: nobody can tell
    assert secret not in mask_command(["x", around.format(secret)])


@pytest.mark.parametrize(
    "command",
    [
        ["nginx:", "worker", "process"],
        ["/usr/sbin/sshd", "-D"],
        ["python3", "-m", "http.server", "8000"],
        ["java", "-Xmx1g", "-jar", "/opt/pay-1.4.jar", "--spring.profiles.active=prod"],
        ["containerd-shim-runc-v2", "-namespace", "moby", "-id", "0123456789abcdef" * 4],
        ["postgres:", "checkpointer"],
        ["curl", "-sSf", "https://example.org/a/b?c=d#e"],
        ["git", "checkout", "da39a3ee5e6b4b0d3255bfef95601890afd80709"],
        ["x", "/usr/lib/x86_64-linux-gnu/security/pam_unix.so"],
        ["x", "--keyspace=a", "--author", "me"],
    ],
)
def test_what_is_no_secret_stays(command: list[str]) -> None:
    assert mask_command(command) == " ".join(command)


@given(st.lists(st.text(max_size=2000), max_size=40))
def test_masking_is_bounded_and_never_fails(command: list[str]) -> None:
    shown = mask_command(command)
    shown.encode()
    assert len(shown) <= COMMAND_CHARS_MAX


@given(
    st.sampled_from(["--password=", "PGPASSWORD=", "-Dx.secret=", "https://h/?token=", "token: "]),
    st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8, max_size=40),
    st.lists(st.text(max_size=20), max_size=4),
)
def test_a_named_secret_is_never_shown(name: str, secret: str, before: list[str]) -> None:
    alone = mask_command(before)
    assert secret not in mask_command([*before, f"{name}{secret}"]).removeprefix(alone)


@pytest.mark.parametrize(
    "argument",
    ["=" * 60_000, "a" * 60_000, "a=" * 30_000, '"' * 60_000, ":/" * 30_000, "-p " * 20_000],
)
def test_a_hostile_argument_costs_little(argument: str) -> None:
    assert len(mask_command(["x", argument, *([argument] * 300)])) <= COMMAND_CHARS_MAX
