import importlib.util
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("processes.py")


def test_processes_with_unequal_numbers_of_images_agree_with_one_process(tmp_path: Path):
    """One of them sees no image at all."""
    spec = importlib.util.spec_from_file_location("processes", SCRIPT)
    processes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(processes)
    command = [sys.executable, "-W", "ignore", str(SCRIPT)]
    running = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meet")], stdout=subprocess.PIPE, text=True)
        for rank in range(3)
    ]
    try:
        printed = [process.communicate(timeout=300)[0].strip() for process in running]
    finally:
        for process in running:
            process.kill()
    assert printed == 3 * [processes.figures(slice(0, 6))]
