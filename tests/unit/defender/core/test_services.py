"""Names of host services, by cgroup, unit, interpreter and program."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.programs import program_name
from cnnf.defender.core.services import container_of, service_name, unit_of
from cnnf.protocol.limits import NAME_CHARS_MAX

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
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service", "user:nginx"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/s@1.service/x", "user:s"),
        (r"/user.slice/user-1.slice/user@1.service/app.slice/app-org.x@ab.service", ""),
        (r"/user.slice/user-1.slice/user@1.service/app.slice/dbus-:1.2-x@0.service", ""),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", ""),
        ("/user.slice/user-1000.slice/user@1000.service", ""),
        ("/user.slice/user-1000.slice/user@1000.service/openrc.ssh", ""),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty"),
        ("/system.slice/kubelet.service/supervised/x.service", "kubelet"),
        ("/user.slice/user-1000.slice/session-3.scope/nginx.service", ""),
        ("/evil/nginx.service", ""),
        ("/system.slice/run-r1234.scope", ""),
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
    "cgroup",
    [
        f"/machine.slice/libpod-conmon-{ID}.scope",
        f"/crio-conmon-{ID}.scope",
        f"/kubepods.slice/kubepods-pod1.slice/crio-conmon-{ID}.scope",
        "/docker",
        "/lxc.monitor.web",
        "/machine.slice/systemd-nspawn@web.service/supervisor",
        r"/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator",
    ],
)
def test_what_only_looks_like_a_container(cgroup: str) -> None:
    assert service_name(cgroup, "/usr/bin/conmon").by != "container"


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        ("/lxc.payload.web/system.slice/nginx.service", "lxc:web"),
        ("/lxc/web/init.scope", "lxc:web"),
        ("/machine.slice/systemd-nspawn@web.service/payload/system.slice/x.service", "nspawn:web"),
        (r"/machine.slice/machine-a\x2db.scope/payload", "nspawn:a-b"),
        ("/docker/buildkit/abc", "docker:buildkit"),
        ("/kubepods/besteffort/pod1/oddly-named", "kubernetes:besteffort"),
        ("/system.slice/docker.service/buildkit/x1", "buildkit:x1"),
        (f"/kubepods/burstable/pod1/crio-{ID}", ID),
        (f"/system.slice/foo.service/libpod-payload-{ID}", ID),
        (f"/user.slice/user-1.slice/user@1.service/user.slice/libpod-{ID}.scope", ID),
        (f"/libpod_parent/libpod-{ID}", ID),
        (f"/system.slice:docker:{ID}", ""),
    ],
)
def test_containers_are_never_services(cgroup: str, container: str) -> None:
    assert container_of(cgroup) == container
    assert (service_name(cgroup, "/usr/sbin/nginx").by == "container") == bool(container)


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
        ("/usr/bin/python3.11", "python3 -mhttp.server", "http.server"),
        ("/usr/bin/python3.11", "python3 -Ium http.server", "http.server"),
        ("/usr/bin/python3.11", "python3 /srv/shop/__main__.py", "shop"),
        ("/usr/bin/python3.11", "python3 /srv/shop/", "shop"),
        ("/usr/bin/python3.11", "python3", "python"),
        ("/usr/bin/pypy3", "pypy3 /x/a.py", "a"),
        ("/opt/venv/bin/python", "python -", "python"),
        ("/usr/sbin/uwsgi-core", "uWSGI worker 1", "uwsgi-core"),
        ("/usr/bin/node", "node --title x /srv/a.mjs", "a"),
        ("/usr/bin/deno", "deno run -A --config c.json serve.ts", "serve"),
        ("/usr/bin/bun", "bun run dev.ts", "dev"),
        ("/usr/bin/dotnet", "dotnet Shop.Api.dll", "Shop.Api"),
        ("/usr/bin/java", "java --add-opens java.base/x=ALL -m shop/org.shop.Main", "Main"),
        ("/usr/bin/java", "java @args org.shop.Cart", "Cart"),
        ("/usr/bin/java", "java -Dx=1 Shop.java", "Shop"),
        ("/usr/bin/bash", "bash -o pipefail /opt/run.sh", "run"),
        ("/usr/bin/bash", "-bash", "bash"),
        ("/usr/bin/ruby3.1", "ruby3.1 -I lib bin/sidekiq", "sidekiq"),
        ("/usr/bin/php8.2", "php8.2 artisan serve", "artisan"),
        ("/usr/sbin/php-fpm8.2", "php-fpm: pool www", "php-fpm8.2"),
        ("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "ld.so --library-path /l /opt/x", "x"),
        ("/bin/toybox", "toybox httpd", "httpd"),
        ("/bin/busybox", "-ash", "ash"),
        ("", "/usr/bin/thing", "thing"),
        ("", "", "unknown"),
    ],
)
def test_programs(executable: str, command: str, name: str) -> None:
    assert program_name(executable, tuple(command.split())) == name


@pytest.mark.parametrize(
    ("executable", "title", "name"),
    [
        ("/usr/bin/python3.11", "gunicorn: master [app:app]", "gunicorn"),
        ("/usr/bin/python3.11", "[celeryd: celery@h:MainProcess] -active- (worker)", "celeryd"),
        ("/usr/bin/ruby3.1", "puma 5.6.5 (tcp://0.0.0.0:3000) [shop]", "puma"),
        ("/usr/bin/ruby3.1", "sidekiq 6.5.1 shop [0 of 10 busy]", "sidekiq"),
        ("/usr/bin/perl", "/usr/sbin/amavisd-new (master)", "amavisd-new"),
        ("/usr/bin/node", "PM2 v5.3.0: God Daemon (/root/.pm2)", "PM2"),
        ("/usr/bin/node", "node /srv/shop/api.js ", "api"),
        ("/usr/bin/python3.11", "/usr/bin/python3 -m aiohttp.web", "aiohttp.web"),
        ("/usr/bin/python3.11", "   ", "python"),
        ("/usr/bin/python3.11", "::[](", "python"),
        ("/usr/sbin/nginx", "postgres: writer", "nginx"),
    ],
)
def test_processes_that_write_their_own_title(executable: str, title: str, name: str) -> None:
    assert program_name(executable, (title,)) == name


@pytest.mark.parametrize(
    "command",
    [
        ("python3", "x" * 1_000_000),
        ("python3", "-m", "\x1b[31m\u202egnp.exe\n" * 10),
        ("python3", *["-u"] * 100_000, "late.py"),
        ("python3 " + "-u " * 300_000,),
    ],
)
def test_hostile_command_lines_make_bounded_clean_names(command: tuple[str, ...]) -> None:
    name = program_name("/usr/bin/python3", command)
    assert 0 < len(name) <= NAME_CHARS_MAX
    assert name.isprintable()


@given(st.text(max_size=100), st.text(max_size=60), st.lists(st.text(max_size=20), max_size=5))
def test_naming_never_fails(cgroup: str, executable: str, command: list[str]) -> None:
    assert service_name(cgroup, executable, command).name
