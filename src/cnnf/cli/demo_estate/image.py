"""The estate's images: a static busybox and one page, packed here, nothing fetched."""

import io
import struct
import tarfile
from pathlib import Path

from cnnf.cli.demo_estate.definition import App
from cnnf.cli.failure import Failure

#: The commands that the containers' scripts use, as links to busybox.
APPLETS = ("sh", "httpd", "nc", "echo", "sleep", "timeout", "ps", "seq")

#: Where distributions put busybox; Debian and Ubuntu have it in /bin.
_BUSYBOX_PLACES = (Path("/bin/busybox"), Path("/usr/bin/busybox"), Path("/sbin/busybox"))

#: Bytes of a busybox that would be taken: real ones have 1 to 3 MB.
_BUSYBOX_BYTES_MAX = 16 * 1024 * 1024

_HINT = "install it: apt-get install busybox-static"


def find_busybox(places: tuple[Path, ...] = _BUSYBOX_PLACES) -> Path:
    """The static busybox of this machine. Raises Failure when there is none."""
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise Failure("the demo needs busybox, and there is none", hint=_HINT)
    size = found.stat().st_size
    if not 0 < size <= _BUSYBOX_BYTES_MAX or not is_static(found.read_bytes()):
        raise Failure(f"the demo needs a static busybox; {found} is not", hint=_HINT)
    return found


def is_static(program: bytes) -> bool:
    """True for an ELF program that needs no loader (no PT_INTERP among its headers, elf(5))."""
    if program[:4] != b"\x7fELF" or program[4:5] not in (b"\x01", b"\x02"):
        return False
    wide = program[4] == 2
    order = "<" if program[5] == 1 else ">"
    try:
        (offset,) = struct.unpack_from(order + ("Q" if wide else "I"), program, 32 if wide else 28)
        size, count = struct.unpack_from(order + "HH", program, 54 if wide else 42)
        kinds = [
            struct.unpack_from(order + "I", program, offset + index * size)[0]
            for index in range(count)
        ]
    except struct.error:
        return False
    interpreter = 3
    return count > 0 and interpreter not in kinds


def pack(app: App, busybox: bytes) -> bytes:
    """The image's file system as a tar archive, the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for directory in ("bin", "www", "etc"):
            _add(archive, directory, kind=tarfile.DIRTYPE, mode=0o755)
        _add(archive, "bin/busybox", busybox, mode=0o755)
        for applet in APPLETS:
            _add(archive, f"bin/{applet}", kind=tarfile.SYMTYPE, link="busybox")
        _add(archive, "www/index.html", f"<h1>{app.image}</h1>\n".encode())
        _add(archive, "etc/hostname", f"{app.name}\n".encode())
    return buffer.getvalue()


def _add(
    archive: tarfile.TarFile,
    name: str,
    data: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    link: str = "",
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size = kind, mode, link, len(data)
    archive.addfile(info, io.BytesIO(data))
