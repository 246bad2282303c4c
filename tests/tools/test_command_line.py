"""docs/command-line.md says what the commands say."""

from prorl.cli.app import app
from tools.command_line import PAGE, commands, marked, page, row


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tools.command_line --write`"


def test_every_command_and_option_is_on_the_page():
    text = page()
    for path, command in commands(app):
        assert f"\n## {path}\n" in text
        assert all(f"`{option}" in text for own in command.params for option in own.opts if option[0] == "-")


def test_rows_hold_values_defaults_and_what_is_required():
    of = {
        own.name: row(own)
        for path, command in commands(app)
        if path == "prorl guide"
        for own in command.params
    }
    assert of["target"] == ("`--target ITEM`", "Where the path leads: a title or a raw id. Required.")
    assert of["seed"] == ("`--seed N`", "Of what `--sample` draws. (default: 0)")
    assert of["as_json"] == ("`--json`", "Print JSON.")
    assert of["history"][0] == "`--history ITEM..`"
    (table,) = [command for path, command in commands(app) if path == "prorl experiments table"]
    assert ("`--format md\\|json`", "What is printed. (default: md)") in map(row, table.params)


def test_options_are_code_and_nothing_else_is_taken_for_a_tag():
    assert marked("a --b-c, `d --e` --f") == "a `--b-c`, `d --e` `--f`"
    outside = [part for block in page().split("```")[::2] for part in block.split("`")[::2]]
    assert not any("<" in part or "--" in part.replace("---", "") for part in outside)
