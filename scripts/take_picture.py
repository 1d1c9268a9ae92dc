"""Write a picture of a study's report, as in README: `python scripts/take_picture.py STUDY PNG`.

Needs Chromium, and the extra ``plot``: pip install '.[plot]'.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from raytune_yesno.report import write_report
from raytune_yesno.study import load

WIDTH, HEIGHT = 1100, 1440
COLOURS = 64  # of the palette: a small file


def main(study: str, picture: str) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))))
    with tempfile.TemporaryDirectory() as folder:
        page = write_report([load(study)], Path(folder)).html
        shot = Path(folder, "shot.png")
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
        size = (f"--window-size={WIDTH},{HEIGHT}", "--virtual-time-budget=20000")
        subprocess.run(
            [browser, *options, *size, f"--screenshot={shot}", page.as_uri()],
            check=True,
            capture_output=True,
            timeout=120,
        )
        Image.open(shot).convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
