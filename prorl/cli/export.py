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
    _write(released, destination, ending)
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


def _write(released: "ReleasedPolicy", destination: Path, ending: str | None) -> None:
    """The policy as a folder, or as an archive of that ending, which appears whole or not at all; what killed
    exports to the same name have left is removed.
    """
    import os
    import shutil
    from contextlib import suppress

    from prorl.files import remove_unfinished

    place = destination.with_name(f".{destination.name}.unfinished")
    remove_unfinished([place])
    own = place / f".export.{os.getpid()}.partial"  # so that a later export can tell whether this one runs
    own.mkdir(parents=True)
    try:
        made = own / destination.name.removesuffix(ending or "")
        released.save_pretrained(made)
        if ending:
            made = Path(shutil.make_archive(f"{own}/archive", ARCHIVES[ending], own, made.name))
        os.rename(made, destination)
    finally:
        shutil.rmtree(own)
        with suppress(OSError):  # another export is under way beside this one
            place.rmdir()
