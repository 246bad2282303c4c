"""`prorl serve`: a released policy as a service, with a page for people."""

from pathlib import Path
from typing import Annotated

import typer

from prorl.cli import policies

SUMMARY = "Serve a released policy: an API, and a page for people."
DESCRIPTION = """\
Serve a released policy in one process, with an API, which `/openapi.json` describes, and a page for people at
`/`. Only this machine can call it unless --host says otherwise, which then asks for a token: from the
environment variable PRORL_SERVE_TOKEN or --token-file. Needs the extra `serve`.

With --log every item that is shown is logged with its probability, and users under keyed hashes. With
--explore paths are sampled, and the log can tell what another policy would have earned: `prorl estimate`.
Settings can also stand in a file, under `serve`; options come before it."""
EXAMPLES = (
    "prorl serve",
    "prorl serve --policy models/released/ml-100k/prorl --port 8080",
    "prorl serve --explore 1 --log logs --log-histories",
    "prorl serve --settings serve.yaml",
)
ADDRESS, LOG, LIMITS = "Address", "Log", "Batches and limits"  # parts of the help


def serve(
    context: typer.Context,
    policy: policies.Policy = None,
    settings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A JSON or YAML file with a mapping `serve` of settings."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="D", help="cpu or cuda. (default: a GPU where there is one)")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="The address to listen at. (default: 127.0.0.1)",
            rich_help_panel=ADDRESS,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="N",
            help="The port; 0 takes a free one. (default: 8000)",
            rich_help_panel=ADDRESS,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", metavar="FILE", help="A file that holds the token.", rich_help_panel=ADDRESS
        ),
    ] = None,
    open: Annotated[
        bool | None,
        typer.Option(
            "--open",
            help="Serve others than this machine without a token, said explicitly.",
            rich_help_panel=ADDRESS,
        ),
    ] = None,
    explore: Annotated[
        float | None,
        typer.Option(
            "--explore",
            metavar="T",
            help="The temperature at which every path is sampled; without it, the likeliest path is shown. "
            "Needs --log-histories.",
            rich_help_panel=LOG,
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="FOLDER",
            help="The folder of the log. (default: none is written)",
            rich_help_panel=LOG,
        ),
    ] = None,
    log_histories: Annotated[
        bool | None,
        typer.Option(
            "--log-histories",
            help="Whether the log holds users' histories; needs --log.",
            rich_help_panel=LOG,
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            metavar="FILE",
            help="The key of users' hashes; made, for its owner alone, where it is missing. The environment "
            "variable PRORL_USER_KEY comes first. (default: beside the log, LOG.key)",
            rich_help_panel=LOG,
        ),
    ] = None,
    rotate_mb: Annotated[
        float | None,
        typer.Option(
            "--rotate-mb",
            metavar="N",
            help="Megabytes after which the log begins a new file. (default: 64.0)",
            rich_help_panel=LOG,
        ),
    ] = None,
    sync_seconds: Annotated[
        float | None,
        typer.Option(
            "--sync-seconds",
            metavar="N",
            help="How often the log is forced to the disk; 0: at every write. (default: 1.0)",
            rich_help_panel=LOG,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            metavar="N",
            help="The most requests of one batch. (default: 64)",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    batch_wait_ms: Annotated[
        float | None,
        typer.Option(
            "--batch-wait-ms",
            metavar="N",
            help="How long the first request of a batch waits for others. (default: 4.0)",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    queue: Annotated[
        int | None,
        typer.Option(
            "--queue",
            metavar="N",
            help="Requests that may wait; beyond it the answer is 429 with Retry-After. (default: 256)",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    timeout_seconds: Annotated[
        float | None,
        typer.Option(
            "--timeout-seconds",
            metavar="N",
            help="The longest wait for an answer. (default: 30.0)",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    body_seconds: Annotated[
        float | None,
        typer.Option(
            "--body-seconds",
            metavar="N",
            help="The longest wait for a request's head, for its body, and for its answer to be read. "
            "(default: 10.0)",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_body_kb: Annotated[
        int | None,
        typer.Option(
            "--max-body-kb",
            metavar="N",
            help="The largest body of a request. (default: 64)",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_history: Annotated[
        int | None,
        typer.Option(
            "--max-history",
            metavar="N",
            help="The longest history of a request, in items. (default: 500)",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_avoid: Annotated[
        int | None,
        typer.Option(
            "--max-avoid",
            metavar="N",
            help="The most things that a request may avoid. (default: 100)",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_paths: Annotated[
        int | None,
        typer.Option(
            "--max-paths",
            metavar="N",
            help="The most paths of one request. (default: 8)",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    remembered: Annotated[
        int | None,
        typer.Option(
            "--remembered",
            metavar="N",
            help="Requests that answers and next steps may name; the oldest are forgotten. (default: 10000)",
            rich_help_panel=LIMITS,
        ),
    ] = None,
) -> None:
    """Serve until interrupted."""
    from prorl.extras import need

    need("serve", "the service")
    name = policies.chosen(policy)
    from prorl.serving.run import run
    from prorl.serving.settings import serve_settings

    own = ("policy", "settings", "device")
    options = {key: value for key, value in context.params.items() if key not in own}
    run(name, serve_settings(options, settings), device)
