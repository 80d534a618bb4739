"""Draw the pictures of the README into docs/images: pages of a report and the graph of a landscape.

Everything comes from the shipped studies through the public interface.  The pages need TeX and ``pdftoppm`` (Debian:
poppler-utils); without them the old picture stays and the script says so.

    python docs/pictures.py              # what `make pictures` runs; a few minutes
    python docs/pictures.py --starts 50  # a quick look: fewer starts, other numbers
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

import workbench as wb

IMAGES = Path(__file__).resolve().parent / "images"
#: Resolution of a page, and the largest size of a picture in bytes: the README is read over the network.
DPI, LARGEST = 110, 300_000
#: White around what is printed, and between two pages, in pixels.
MARGIN = 24


def shipped(name: str, starts: int | None) -> wb.Analysis:
    """Return the analysis of a shipped study, with its own number of starts unless another is asked for."""
    return wb.Analysis(wb.load(wb.shipped_studies()[name]).with_overrides(starts=starts))


def cropped(picture: Image.Image) -> Image.Image:
    """Cut white margins down to ``MARGIN``."""
    grey = picture.convert("L")
    box = ImageChops.difference(grey, Image.new("L", grey.size, 255)).getbbox()
    if box is None:
        raise ValueError("the picture is blank")
    left, top, right, bottom = box
    corner = (max(0, left - MARGIN), max(0, top - MARGIN))
    return picture.crop((*corner, min(picture.width, right + MARGIN), min(picture.height, bottom + MARGIN)))


def side_by_side(pages: list[Image.Image]) -> Image.Image:
    """Set pages next to each other, tops aligned, with a thin line between them."""
    height, width = max(page.height for page in pages), sum(page.width for page in pages) + len(pages) - 1
    sheet, left = Image.new("RGB", (width, height), "white"), 0
    for number, page in enumerate(pages):
        if number:
            sheet.paste((170, 170, 170), (left, MARGIN, left + 1, height - MARGIN))
            left += 1
        sheet.paste(page, (left, 0))
        left += page.width
    return sheet


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG with as many colours as fit into ``LARGEST`` bytes.

    Raises
    ------
    ValueError
        If 16 colours are still too many bytes.
    """
    IMAGES.mkdir(exist_ok=True)
    for colours in (256, 128, 64, 32, 16):
        picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            print(f"{path.name}: {picture.width} x {picture.height}, {path.stat().st_size // 1000} kB")
            return
    raise ValueError(f"{path.name} has {path.stat().st_size} bytes; at most {LARGEST} are allowed: lower DPI")


def graph(starts: int | None) -> None:
    """Draw the landscape graph of the study tanh-1d."""
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "graph.png"
        shipped("tanh-1d", starts).landscape().plot().savefig(drawn, dpi=DPI, bbox_inches="tight")
        with Image.open(drawn) as picture:
            save(cropped(picture.convert("RGB")), IMAGES / "landscape.png")


def report(starts: int | None) -> bool:
    """Show the first page of the report on five-points beside the one with the Hessian spectra, if TeX is there."""
    with tempfile.TemporaryDirectory() as folder:
        files = shipped("five-points", starts).report(folder)
        missing = [name for name in ("pdftoppm", "pdftotext") if shutil.which(name) is None]
        if files.pdf is None or missing:
            print(files.message or f"no {' and no '.join(missing)}; on Debian: apt-get install poppler-utils")
            print("report.png is left as it was")
            return False
        text = subprocess.run(["pdftotext", files.pdf, "-"], check=True, capture_output=True, text=True)
        second = next(n for n, page in enumerate(text.stdout.split("\f"), 1) if "Figure 1:" in page)
        pages = []
        for number in (1, second):
            stem = Path(folder) / f"page-{number}"
            command = [
                "pdftoppm",
                "-r",
                str(DPI),
                "-f",
                str(number),
                "-l",
                str(number),
                "-singlefile",
                "-png",
            ]
            subprocess.run([*command, files.pdf, stem], check=True)
            with Image.open(f"{stem}.png") as page:
                pages.append(cropped(page.convert("RGB")))
        save(side_by_side(pages), IMAGES / "report.png")
    return True


def main() -> int:
    """Draw both pictures; status 1 if the page had to be left out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--starts", type=int, help="starts per width, instead of those of the studies")
    starts = parser.parse_args().starts
    graph(starts)
    return 0 if report(starts) else 1


if __name__ == "__main__":
    sys.exit(main())
