"""`prorl check`: every mistake in settings."""

from pathlib import Path

SUMMARY = "Find every mistake in params.yaml and experiments/."
DESCRIPTION = """\
Print every mistake in params.yaml, a line each: in single settings, in settings that do not agree with each
other, and in names of simulators, estimators and the like; and folders of guides that it does not name any
more. Where there is none, the files of experiments/ are read too, and the settings of all their rows. The
exit status is 1 where there is any mistake."""
EXAMPLES = ("prorl check",)


def check() -> int:
    """Print what is wrong in params.yaml and in the files of experiments; the exit status."""
    from prorl.experiments.checking import findings
    from prorl.experiments.definition import FOLDER
    from prorl.guides.folders import left_behind
    from prorl.names import every_finding
    from prorl.params import PARAMS_FILE, params_of, read_params_file

    raw = read_params_file()
    found = every_finding(raw, str(PARAMS_FILE))
    found = found or list(left_behind(params_of(raw, str(PARAMS_FILE))))
    if found:  # what the rows of experiments are laid over
        print("\n".join(found))
        return 1
    print(f"{PARAMS_FILE}: no mistakes")
    if not Path(FOLDER).is_dir():
        return 0
    found = findings(Path.cwd(), raw)
    print("\n".join(found) or f"{FOLDER}/: no mistakes")
    return 1 if found else 0
