"""The page that `dvc plots show` and `dvc plots diff` fill, with the scripts of the installed Vega in it, so
that it draws without a network: `python -m tools.plots_page`; `make install` runs it.

DVC's own page loads other versions from elsewhere. Ours is made in `.dvc`, where git ignores it, and named in
`.dvc/config.local`, which git ignores too: a checkout that lacks the one lacks the other, and has DVC's page.
"""

import subprocess
import sys
from pathlib import Path

from prorl.files import atomic_file
from prorl.reports.drawing import scripts

PAGE = Path(".dvc/plots.html")
# `{plot_divs}` is what DVC puts the plots in place of; of `{scripts}`, those it would load, there is none.
TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>ProRL: plots</title>
<style>
body { margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; }
main { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
main > div { max-width: 100%; overflow-x: auto; }
@media print { main > div { break-inside: avoid; } }
</style>
<script>
SCRIPTS
</script>
</head>
<body>
<main>
{plot_divs}
</main>
</body>
</html>
"""


def main(folder: Path) -> None:
    """Write the page into the repository at `folder`, and tell its DVC to use it."""
    with atomic_file(folder / PAGE) as temporary:
        temporary.write_text(TEMPLATE.replace("SCRIPTS", str(scripts())), encoding="utf-8")
    named = ["config", "--local", "plots.html_template", PAGE.name]  # from .dvc on
    subprocess.run([sys.executable, "-m", "dvc", *named], cwd=folder, check=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit("usage: python -m tools.plots_page")
    main(Path.cwd())
