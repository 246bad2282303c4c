"""`prorl export`: a released policy to where others can use it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prorl.cli import policies

if TYPE_CHECKING:
    from prorl.bundle.policy import ReleasedPolicy

ARCHIVES = {".zip": "zip", ".tar.gz": "gztar"}
SUMMARY = "Export a released policy to a folder, an archive or the hub."
DESCRIPTION = """\
Export a released policy, after it was loaded and so checked, to a folder, an archive (.zip or .tar.gz) that
holds one folder of that name, or a repository of the Hugging Face hub. It holds everything that guiding
needs, and no user's history. `prorl guide --policy FOLDER` and `prorl.load_policy(FOLDER)` read it, from the
hub by its name."""
EXAMPLES = (
    "prorl export ../shared/ml-100k",
    "prorl export ml-100k.zip --policy models/released/ml-100k/prorl",
    "prorl export --hub somebody/prorl-ml-100k --private",
)


def export(
    destination: Annotated[
        Path | None, typer.Argument(help="A folder that is not there yet, or a file .zip or .tar.gz.")
    ] = None,
    hub: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="A repository of the hub, instead.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository of the hub a private one.")
    ] = False,
    policy: policies.Policy = None,
) -> None:
    """Write the policy to one of the places."""
    from prorl.config.section import ConfigError

    if (destination is None) == (hub is None):
        found = "neither" if hub is None else "both"
        raise ConfigError(f"DESTINATION, --hub: got {found}, allowed: one of the two")
    if private and hub is None:
        raise ConfigError("--private: got it without --hub, allowed: with it")
    ending = None if destination is None else _ending(destination)
    if destination is not None and destination.exists():
        raise ConfigError(f"{destination}: got what is there already, allowed: a new name")
    name = policies.chosen(policy)
    from prorl.bundle.policy import load_policy

    released = load_policy(name, device="cpu")
    about = f"{released.dataset}/{released.name}, version {released.version}"
    if destination is None:
        print(f"{about}: {released.push_to_hub(str(hub), private=private or None)}")
        return
    if ending:
        _archive(released, destination, ending)
    else:
        released.save_pretrained(destination)
    print(f"{about}: {destination}")


def _ending(destination: Path) -> str | None:
    """The ending of an archive; None for a folder. Raises `ConfigError` for another archive's."""
    from prorl.config.section import ConfigError

    for ending in ARCHIVES:
        if destination.name.endswith(ending):
            return ending
    if destination.suffix in (".tar", ".tgz", ".gz", ".xz", ".bz2", ".7z"):
        raise ConfigError(
            f"{destination}: got {destination.suffix}, allowed: {', '.join(ARCHIVES)}, or a folder"
        )
    return None


def _archive(released: "ReleasedPolicy", destination: Path, ending: str) -> None:
    """The policy as an archive, which appears whole or not at all."""
    import shutil
    import tempfile

    from prorl.files import atomic_file

    folder = destination.name.removesuffix(ending)
    with tempfile.TemporaryDirectory() as place, atomic_file(destination) as temporary:
        released.save_pretrained(Path(place) / "files" / folder)
        made = shutil.make_archive(f"{place}/archive", ARCHIVES[ending], f"{place}/files", folder)
        shutil.move(made, temporary)
