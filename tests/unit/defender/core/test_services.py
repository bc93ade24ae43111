"""Names of host services, by cgroup, unit, interpreter and program; and masked command lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.services import mask_command, program_name, service_name, unit_of
from cnnf.protocol.limits import COMMAND_CHARS_MAX

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("/system.slice/nginx.service", "nginx"),
        ("/system.slice/nginx.service/worker", "nginx"),
        ("/system.slice/system-backup.slice/backup@monday.service", "backup"),
        (r"/system.slice/my\x2dapp.service", "my-app"),
        ("/shop.slice/shop-web.slice/web.service", "web"),
        ("/openrc.sshd", "sshd"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.service", ""),
        ("/user.slice/user-1000.slice/session-3.scope", ""),
        ("/init.scope", ""),
        ("/", ""),
        ("", ""),
    ],
)
def test_units(cgroup: str, unit: str) -> None:
    assert unit_of(cgroup) == unit
    named = service_name(cgroup, "/usr/sbin/thing")
    assert (named.name, named.by) == ((unit, "unit") if unit else ("thing", "program"))


@pytest.mark.parametrize(
    "cgroup",
    [
        f"/docker/{ID}",
        f"/system.slice/docker-{ID}.scope",
        f"/system.slice/docker-{ID}.scope/system.slice/inner.service",
        f"/kubepods/burstable/pod1/{ID}",
        f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope",
        f"/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope",
        f"/machine.slice/libpod-{ID}.scope/container",
        f"/docker/{ID}/docker/{'f' * 64}",
    ],
)
def test_containers(cgroup: str) -> None:
    named = service_name(cgroup, "/bin/x")
    assert (named.by, named.container) == ("container", ID)


@pytest.mark.parametrize(
    "cgroup", [f"/machine.slice/libpod-conmon-{ID}.scope", f"/crio-conmon-{ID}.scope", "/docker/ab"]
)
def test_what_only_looks_like_a_container(cgroup: str) -> None:
    assert service_name(cgroup, "/usr/bin/conmon").by == "program"


@pytest.mark.parametrize(
    ("executable", "command", "name"),
    [
        ("/usr/sbin/nginx", "nginx: worker process", "nginx"),
        ("/usr/sbin/nginx (deleted)", "nginx", "nginx"),
        ("/usr/bin/python3.11", "python3 -m http.server 8000", "http.server"),
        ("/usr/bin/python3.11", "python3 -u -W ignore /srv/app/orders.py --port 1", "orders"),
        ("/usr/bin/python3.11", "/usr/bin/python3 /usr/bin/gunicorn app:app", "gunicorn"),
        ("/usr/bin/python3.11", "python3 -c pass", "python"),
        ("/usr/bin/node", "node --require ./x /srv/server.js", "server"),
        ("/usr/bin/node", "node -e 1", "node"),
        ("/usr/lib/jvm/bin/java", "java -Xmx1g -jar /opt/pay-1.4-SNAPSHOT.jar", "pay"),
        ("/usr/lib/jvm/bin/java", "java -cp /x:/y org.apache.kafka.Kafka", "Kafka"),
        ("/usr/bin/bash", "bash -e /opt/run.sh", "run"),
        ("/usr/bin/bash", "bash -ec sleep", "bash"),
        ("/usr/bin/bash", "bash /dev/fd/63", "bash"),
        ("/usr/bin/perl", "perl /usr/bin/thing.pl", "thing"),
        ("/bin/busybox", "busybox nc -l", "nc"),
        ("/bin/busybox", "httpd -f", "httpd"),
        ("/bin/busybox", "busybox sh /etc/start.sh", "start"),
        ("/bin/busybox", "busybox", "busybox"),
        ("/memfd:x (deleted)", "/opt/agent", "agent"),
        ("", "/usr/bin/thing", "thing"),
        ("", "", "unknown"),
    ],
)
def test_programs(executable: str, command: str, name: str) -> None:
    assert program_name(executable, tuple(command.split())) == name


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["mysql", "-uroot", "-pS3cret", "db"], "mysql -uroot -p*** db"),
        (["mysql", "-p", "S3cret"], "mysql -p ***"),
        (["ssh", "-p22", "host"], "ssh -p22 host"),
        (["x", "--password=S3cret"], "x --password=***"),
        (["x", "--db-password", "S3cret", "y"], "x --db-password *** y"),
        (["x", "--password", "--verbose"], "x --password --verbose"),
        (["env", "API_TOKEN=S3cret", "run"], "env API_TOKEN=*** run"),
        (["x", "AWS_SECRET_ACCESS_KEY=S3cret"], "x AWS_SECRET_ACCESS_KEY=***"),
        (["psql", "postgres://me:S3cret@db/x"], "psql postgres://***@db/x"),
        (["sh", "-c", "TOKEN=S3cret curl x"], "sh -c TOKEN=***"),
        (["sh", "-c", "run --password S3cret -v"], "sh -c run --password *** -v"),
        (["curl", "-u", "me:S3cret", "x"], "curl -u *** x"),
        (["curl", "-H", "Authorization: Bearer S3cret"], "curl -H Authorization:***"),
        (["x", '{"token": "S3cret", "a": 1}'], 'x {"token": "***", "a": 1}'),
        (["redis-cli", "-a", "S3cret"], "redis-cli -a ***"),
        (["x", "--author=me", "--monkey=1"], "x --author=me --monkey=1"),
    ],
)
def test_secrets_are_masked(command: list[str], shown: str) -> None:
    assert mask_command(command) == shown
    assert "S3cret" not in mask_command(command)


@given(st.lists(st.text(max_size=2000), max_size=40))
def test_masking_is_bounded_and_never_fails(command: list[str]) -> None:
    shown = mask_command(command)
    shown.encode()
    assert len(shown) <= COMMAND_CHARS_MAX


@given(st.text(max_size=100), st.text(max_size=60), st.lists(st.text(max_size=20), max_size=5))
def test_naming_never_fails(cgroup: str, executable: str, command: list[str]) -> None:
    assert service_name(cgroup, executable, command).name
