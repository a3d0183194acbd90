"""Runs every notebook top to bottom against a demo of the built binary. Standard library alone."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def run(notebook: pathlib.Path) -> int:
    """Executes the code cells in one namespace; gives how many there were."""
    cells = json.loads(notebook.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    namespace: dict = {}
    for number, source in enumerate(code):
        exec(compile(source, f"{notebook.name} cell {number}", "exec"), namespace)
    return len(code)


def main() -> int:
    """Serves a small demo, runs the notebooks, stops it by its process id."""
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "data"
        command = [TARGET / "debug" / "epiledger", "demo", "--json", "--people", "500", "--port", "0", "--data", data]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            json.loads(demo.stdout.readline())
            os.environ["EPILEDGER_DATA"] = str(data)
            passed = 0
            for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
                print(f"{notebook.name}: {run(notebook)} cells")
                passed += 1
        finally:
            demo.terminate()
            demo.wait()
    print(f"{passed} passed, 0 failed")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
