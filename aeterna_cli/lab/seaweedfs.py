"""The lab's S3: SeaweedFS in one process, telemetry off, everything on loopback.

Its filer, master and volume ports answer without credentials; loopback is what protects them.
Source: weed's own help, measured behaviour.
"""

import json
import signal
from pathlib import Path
from signal import Signals

from aeterna_cli.lab.names import ADMIN_GRPC_DISTANCE
from aeterna_cli.lab.part import NotReady, Place
from aeterna_cli.lab.ports import LOOPBACK
from aeterna_cli.lab.processes import Command
from aeterna_cli.lab.requests import Answer, request
from aeterna_cli.lab.state import write_file
from aeterna_cli.stores import binaries

BUCKET = "aeterna-backups"
APPLICATION_BUCKET = "aeterna-application"  # the platform's own objects, never a backup
HEALTH_BUCKET = "aeterna-lab-health"
REGION = "us-east-1"
ACCESS_KEY = "aeterna-lab"
SECRET_KEY = "s3-secret-key"  # noqa: S105 - the name of a file
MEMORY_LIMIT = "512MiB"  # Go's soft limit; without it 64 MB parts took more than 1 GB


class SeaweedFs:
    name = "s3"
    stop_signal: Signals = signal.SIGTERM

    def prepare(self, place: Place) -> None:
        place.data(self.name).mkdir(mode=0o700, exist_ok=True)
        credentials = {"accessKey": ACCESS_KEY, "secretKey": place.secrets.ensure(SECRET_KEY)}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "lab", "credentials": [credentials], "actions": actions}
        write_file(place.folder(self.name) / "s3.json", json.dumps({"identities": [identity]}))

    def command(self, place: Place) -> Command:
        words = [
            str(binaries.lab_program("weed")),
            "-logtostderr=true",
            "mini",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            f"-dir={place.data(self.name)}",
            *_port_flags(place),
            f"-s3.config={place.folder(self.name) / 's3.json'}",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-master.telemetry=false",
            f"-filer.localSocket={place.sockets / 'filer.sock'}",
            f"-s3.localSocket={place.sockets / 's3.sock'}",
        ]
        environment = {**place.environment(self.name), "GOMEMLIMIT": MEMORY_LIMIT}
        return Command(words, place.folder(self.name), environment)

    def settle(self, place: Place) -> None:
        for bucket in (BUCKET, APPLICATION_BUCKET, HEALTH_BUCKET):
            answer = _signed_put(place, f"/{bucket}", b"")
            if answer.status not in (200, 409):  # 409: it is there already
                raise NotReady(f"creating the bucket {bucket} was answered with {answer.status}")
        self.check(place)

    def check(self, place: Place) -> None:
        """The port opens before the server can store: only a stored object counts."""
        answer = _signed_put(place, f"/{HEALTH_BUCKET}/probe", b"the lab is well")
        if answer.status != 200:
            raise NotReady(f"a signed PUT was answered with {answer.status}")


def remove_sockets(place: Place) -> None:
    """Remove what a killed server left outside the lab: it makes sockets under fixed names.

    Source: measured; a clean stop removes them itself, and no flag moves them.
    """
    for kind in ("master", "volume", "filer", "s3", "admin"):
        port = place.ports.get(f"s3-{kind}-grpc" if kind != "s3" else "s3-grpc")
        if kind == "admin":
            port = place.ports.get("s3-admin", 0) + ADMIN_GRPC_DISTANCE
        Path(f"/tmp/seaweedfs-{kind}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108 - its name


def _port_flags(place: Place) -> list[str]:
    named = {
        "-master.port": "s3-master",
        "-master.port.grpc": "s3-master-grpc",
        "-volume.port": "s3-volume",
        "-volume.port.grpc": "s3-volume-grpc",
        "-filer.port": "s3-filer",
        "-filer.port.grpc": "s3-filer-grpc",
        "-s3.port": "s3",
        "-s3.port.grpc": "s3-grpc",
        "-webdav.port": "s3-webdav",
        "-admin.port": "s3-admin",
    }
    flags = [f"{flag}={place.ports[name]}" for flag, name in named.items()]
    flags.append(f"-admin.port.grpc={place.ports['s3-admin'] + ADMIN_GRPC_DISTANCE}")
    return [*flags, "-s3.port.iceberg=0", "-s3.port.lance=0", "-admin.ui=false", "-webdav=false"]


def _signed_put(place: Place, path: str, body: bytes) -> Answer:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    message = AWSRequest("PUT", place.url("s3") + path, data=body)
    secret = place.secrets.read(SECRET_KEY)
    S3SigV4Auth(Credentials(ACCESS_KEY, secret), "s3", REGION).add_auth(message)
    return request("PUT", place.ports["s3"], path, headers=dict(message.headers.items()), body=body)
