"""Where the pages of the documentation are: in docs/ of a checkout, else inside avi."""

from pathlib import Path


def folder() -> Path:
    """Return the folder of the pages."""
    package = Path(__file__).resolve().parents[1]
    in_checkout = package.parent / "docs"
    found = (package.parent / "pyproject.toml").is_file() and in_checkout.is_dir()
    return in_checkout if found else package / "docs"


def pages() -> dict[str, Path]:
    """Return every page by its name."""
    return {path.stem: path for path in sorted(folder().glob("*.md"))}


def title(page: Path) -> str:
    """Return the first heading of a page."""
    with page.open(encoding="utf-8") as lines:
        return next((line.lstrip("# ").rstrip() for line in lines if line.startswith("#")), "")
