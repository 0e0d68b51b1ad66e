"""A disk that two running machines are given at the same time: one gets it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pyVmomi import vim

from tests.lab.client import Client, connect
from tests.lab.machines import Machine
from tests.lab.specs import add, change, disk, new_disk, scsi

ROUNDS = 25


def attach(client: Client, machine: Machine, volume: str) -> bool:
    theirs = Machine(client, vim.VirtualMachine(machine.vm._moId, client.stub))
    try:
        client.reconfigure(theirs.vm, add(disk(1, name=volume, controller=1000)))
    except vim.fault.FileLocked:
        return False
    return True


def start(client: Client, machine: Machine) -> bool:
    theirs = Machine(client, vim.VirtualMachine(machine.vm._moId, client.stub))
    try:
        theirs.on()
    except vim.fault.FileLocked:
        return False
    return True


def test_of_two_that_attach_a_disk_one_wins(client: Client, name: str) -> None:
    owner = Machine(client, client.create(f"{name}-owner", scsi(), new_disk(1)))
    machines = [Machine(client, client.create(f"{name}-{at}", scsi())) for at in range(2)]
    clients = [connect(client.lab) for _ in machines]
    for machine in machines:
        machine.on()
    with ThreadPoolExecutor(2) as threads:
        for _ in range(ROUNDS):
            won = list(threads.map(attach, clients, machines, [owner.disk] * 2))
            assert sorted(won) == [False, True]
            [winner] = [machine for machine in machines if machine.disks]
            client.reconfigure(winner.vm, change("remove", winner.disks[0]))
    for each in clients:
        each.close()
    for machine in (*machines, owner):
        machine.destroy()


def test_of_one_that_starts_and_one_that_attaches_one_wins(client: Client, name: str) -> None:
    owner = Machine(client, client.create(f"{name}-owner", scsi(), new_disk(1)))
    machine = Machine(client, client.create(name, scsi()))
    machine.on()
    clients = [connect(client.lab) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(ROUNDS):
            attached = threads.submit(attach, clients[0], machine, owner.disk)
            started = threads.submit(start, clients[1], owner)
            assert sorted([attached.result(), started.result()]) == [False, True]
            if started.result():
                owner.off()
            else:
                client.reconfigure(machine.vm, change("remove", machine.disks[0]))
    for each in clients:
        each.close()
    machine.destroy()
    owner.destroy()
