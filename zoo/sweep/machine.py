"""The machine of a sweep, asked of a process that ends again: who starts jobs imports no torch.

`python -m zoo.sweep.machine DEVICE` prints it as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

from zoo import schema
from zoo.errors import DeviceError
from zoo.front_door import answer_for
from zoo.runtime.hardware import Hardware, fingerprint, resolve_device
from zoo.schema import parse_json
from zoo.sweep import child


@cache
def machine(device: str) -> Hardware | None:
    """What runs on a device run on; a process asks once.

    Args:
        device: as `device=` names it.

    Returns:
        The machine; None where the device is not there, of which a run makes a record.
    """
    command = child.command("zoo.sweep.machine", device)
    done = subprocess.run(command, env=child.environment(), stdout=subprocess.PIPE, text=True, check=False)
    return schema.build(Hardware, parse_json(done.stdout), "", "") if done.returncode == 0 else None


def main(device: str) -> int:
    """Print the machine of a device; returns 1 where it is not there."""
    try:
        print(json.dumps(schema.plain(fingerprint(resolve_device(device)))))
    except DeviceError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(answer_for(lambda: main(sys.argv[1]), interrupted=""))
