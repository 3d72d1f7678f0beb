"""Makes what the platform's services find when they start: the database's password, the folders of the state.

Runs to its end before every start, and changes nothing that is there. The password is made once, in a volume of its
own: `password` for the database, and `pgpass` for those who connect to it, readable by their user alone.
"""

import os
import secrets
import shutil
from pathlib import Path

CREDENTIALS = Path("/run/credentials")
HOME = Path(os.environ.get("BULKHEAD_HOME", "/var/lib/bulkhead"))
INSTANCE = Path(__file__).resolve().parent.parent / "dagster.yaml"


def credentials(folder: Path) -> None:
    """Make the password, and the file by which libpq finds it."""
    password = folder / "password"
    if not password.exists():
        _write(password, secrets.token_urlsafe(32), 0o444)
    _write(folder / "pgpass", f"*:*:*:bulkhead:{password.read_text()}\n", 0o400)


def home(folder: Path, instance: Path) -> None:
    """Make the folders of the state, and put Dagster's configuration in its place."""
    for name in ("dagster", "stores", "datasets", "steps"):
        (folder / name).mkdir(exist_ok=True)
    shutil.copyfile(instance, folder / "dagster" / ".new")
    (folder / "dagster" / ".new").replace(folder / "dagster" / "dagster.yaml")


def _write(path: Path, text: str, mode: int) -> None:
    new = path.with_name(f".{path.name}")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
    new.replace(path)


if __name__ == "__main__":
    credentials(CREDENTIALS)
    home(HOME, INSTANCE)
    print("the credentials and the folders of the state are there")
