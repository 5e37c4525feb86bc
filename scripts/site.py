"""What mkdocs.yml cannot say: README and CONTRIBUTING are pages, and every page has its place."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
BROUGHT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
# What stands first; a page that is named in none of them comes under More.
MENU = {
    "Start": ("index", "my-encoders-gap", "which-mode-when", "my-own-table", "read-a-sweep"),
    "Bring your own": ("bring-weights", "bring-a-numpyro-model", "add-a-component", "contributing"),
    "What the numbers mean": (
        "how-to-read-a-gap-report", "how-each-estimator-errs", "what-is-an-amortization-gap",
        "calibrate", "gap-coverage",
    ),
    "Use": (
        "what-you-can-type", "in-python", "infer", "export", "what-a-run-writes", "run-folder",
        "clusters", "many-devices",
    ),
}  # fmt: skip


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie beside docs/, and make the menu."""
    for name, page in BROUGHT.items():
        content = (ROOT / name).read_text("utf-8")
        files.append(File.generated(config, page, content=content))
    left = {Path(file.src_uri).stem: file.src_uri for file in files.documentation_pages()}
    menu = [
        {title: [left.pop(name) for name in names if name in left]} for title, names in MENU.items()
    ]
    config.nav = [*menu, {"More": sorted(left.values())}] if left else menu
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with the links of a checkout turned into those of the site."""
    for name, brought in BROUGHT.items():
        markdown = markdown.replace(f"](../{name}", f"]({brought}").replace(
            f"]({name}", f"]({brought}"
        )
    return markdown.replace("](docs/", "](")
