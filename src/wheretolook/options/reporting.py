"""The options of the command that writes pages."""

from dataclasses import dataclass, field

from wheretolook.options.commands import PLACED


@dataclass(frozen=True)
class Report:
    """Write the page of a run again from what lies in its folder, or one page that compares several runs.

    Nothing is trained or measured, and neither networks nor images are needed. What is missing is said in a line.

    Args:
        out: the HTML file; none for report.html in the run's folder, and for runs/comparison.html of several runs.
    """

    runs: list[str] = field(
        metadata={PLACED: "the --out folders of run, demo, train-*, evaluate or visualize; several are compared"}
    )
    out: str | None = None
