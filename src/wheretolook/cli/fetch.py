"""The command `fetch`."""

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from wheretolook.cli.console import console
from wheretolook.files import user_path
from wheretolook.options.commands import Fetch
from wheretolook.public import PUBLIC_FILES, fetch


def fetch_public(options: Fetch) -> None:
    """Fetch a public file, with progress and checksum."""
    name = options.name
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        path = fetch(
            name, user_path(options.folder), progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    console.print(f"{path} is there and has the published checksum{PUBLIC_FILES[name].hint}")
