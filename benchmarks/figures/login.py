"""From spawn to the login of a real guest."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from benchmarks.endpoint import ENGINE, PLACE, SIZE, Client, endpoint
from benchmarks.report import Figure, Table, spread
from benchmarks.run_options import Run
from benchmarks.workers import BUILD, Answer
from vmops.lab.guest import ensure_guest
from vmops.lab.qemu.accelerator import accelerator

PROMPT = r"login:"
ROOM = {**SIZE, "memory_mb": 128}
LOOK_S = 0.02
LONGEST_S = 120

TITLE = "Seconds to a guest's login"

METHOD = """\
The lab's small Linux (a 64 MiB disk made from Debian packages, 128 MiB of memory) under QEMU, from
the call of `spawn` to `login:` in the log of its serial port, which is looked at every 20 ms. The
last row is the guest alone: the same disk in a QEMU started by hand, without vSphere, network card
or data to copy. The rows take turns. A guest without hardware virtualisation needs a whole core for
seconds, so that the load of the machine shows here more than anywhere else."""


def measure(run: Run) -> Figure:
    image_file = ensure_guest(BUILD)
    plain_disk = run.folder("plain") / "disk.qcow2"
    convert = ["qemu-img", "convert", "-f", "vmdk", "-O", "qcow2", str(image_file), str(plain_disk)]
    subprocess.run(convert, check=True)
    fresh, cached, plain = [], [], []
    with endpoint(run.folder("login"), hypervisor="qemu") as lab, lab.client(ENGINE) as client:
        root = lab.lab.ask("datastore_root", name=PLACE["datastore"]).result
        for number in range(run.repeat):
            image = client.image("streamOptimized", image_file, scsi_model="vmpvscsi")
            fresh.append(login(client, image, root))
            cached.append(login(client, image, root))
            plain.append(plain_login(plain_disk, plain_disk.with_name(f"serial-{number}.log")))
    rows = [
        (
            name,
            spread([answer.result for answer in answers], digits=2),
            spread([answer.seconds for answer in answers], digits=2),
        )
        for name, answers in (("spawn, image cached", cached), ("spawn, image not cached", fresh))
    ]
    rows.append(("plain QEMU", "", spread(plain, digits=2)))
    head = ("", "`spawn` returns after s", "login after s")
    return Figure(TITLE, METHOD, [Table(head, rows)])


def login(client: Client, image: dict[str, str], root: str) -> Answer:
    instance, answer = client.spawn(
        image, do="spawn_to_login", size=ROOM, datastore_root=root, pattern=PROMPT
    )
    client.worker.ask("destroy", uuid=instance)
    return answer


def plain_login(disk: Path, serial_log: Path) -> float:
    how = accelerator()
    command = ["qemu-system-x86_64", "-nodefaults", "-machine", "pc", "-display", "none"]
    for option in how.options:
        command += ["-accel", option]
    command += ["-cpu", how.cpu_model, "-m", str(ROOM["memory_mb"]), "-device", "vmware-svga"]
    command += ["-drive", f"if=none,id=disk,format=qcow2,snapshot=on,file={disk}"]
    command += ["-device", "pvscsi", "-device", "scsi-hd,drive=disk"]
    command += ["-serial", f"file:{serial_log}"]
    ready = re.compile(PROMPT.encode())
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        while not (serial_log.exists() and ready.search(serial_log.read_bytes())):
            if process.poll() is not None or time.perf_counter() - begin > LONGEST_S:
                raise RuntimeError("the plain QEMU shows no login")
            time.sleep(LOOK_S)
        return time.perf_counter() - begin
    finally:
        process.kill()
        process.wait()
