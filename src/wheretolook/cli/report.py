"""The command `report`: the page of a run from its folder, or one page of several."""

from pathlib import Path

from wheretolook.cli.console import console
from wheretolook.files import user_path
from wheretolook.options.reporting import Report
from wheretolook.report.comparison import write_comparison
from wheretolook.report.recorded import read_run
from wheretolook.report.run_page import REPORT_FILE, write_run_page

COMPARISON = "runs/comparison.html"


def write_report(options: Report) -> Path:
    """Write the page; returns its path."""
    runs = [read_run(user_path(folder)) for folder in options.runs]
    default = runs[0].folder / REPORT_FILE if len(runs) == 1 else Path(COMPARISON)
    path = default if options.out is None else user_path(options.out)
    if len(runs) == 1:
        write_run_page(runs[0], path)
    else:
        write_comparison(runs, path)
    for run in runs:
        if run.missing:
            console.print(f"{run.folder}: {'; '.join(run.missing)}")
    console.print(f"open {path}")
    return path
