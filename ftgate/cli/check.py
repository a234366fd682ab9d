"""`ftgate check`: says everything that would stop a run, before one starts."""

from __future__ import annotations

from pathlib import Path

import click

from ftgate.cli.common import (
    BUNDLE,
    OFFLINE,
    PATH,
    VERIFY,
    Command,
    real_stderr,
    references,
    stdout,
    verify_whole_cache,
)
from ftgate.errors import ConfigurationError


@click.command(cls=Command)
@click.option("--policy", type=PATH, default=None, help="Limits, suites and judge.  [default: .github/ftgate.yml]")
@click.option("--manifest", type=PATH, default=None, help="The file that names base and candidate.")
@references
@BUNDLE
@OFFLINE
@VERIFY
@click.option("--ask", is_flag=True, help="Ask the servers that the policy names, too. Sends them their keys.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check(
    policy: Path | None,
    manifest: Path | None,
    bundle: Path | None,
    offline: bool,
    verify_cache: bool,
    ask: bool,
    as_json: bool,
    **named: str | None,
) -> None:
    """Check configuration, data and weights, and estimate memory. No GPU needed.

    Takes a manifest or, as `ftgate run` does, --base and --candidate. Of large remote weights only the headers are
    downloaded. Give --ask only with a policy that you trust.
    """
    from ftgate.api.evaluate import RunFiles, read_run
    from ftgate.jobs.incumbent import read_last_allowed
    from ftgate.jobs.prepare import load_configured, resolvers_with
    from ftgate.preflight.check import preflight
    from ftgate.preflight.hardware import detect
    from ftgate.preflight.view import preflight_json, print_preflight
    from ftgate.report.progress_bar import RichProgress

    if ask and offline:
        raise ConfigurationError("--ask asks servers, and --offline uses no network", hint="give one of the two")
    verify_whole_cache(verify_cache)
    progress = RichProgress(real_stderr())
    given = {name: value for name, value in named.items() if value is not None}
    configuration = read_run(given, RunFiles(policy, manifest, None), None, progress, offline=offline)
    headers = resolvers_with(progress, offline=offline, headers_only=True)
    draft = load_configured(configuration, headers, read_last_allowed(bundle, configuration.manifest_path))
    result = preflight(draft, detect(), ask=ask, embed=True)
    if as_json:
        click.echo(preflight_json(result))
        click.get_current_context().exit(result.exit_code)
    print_preflight(result, stdout())
    draft.problems.raise_any()
    click.get_current_context().exit(result.exit_code)
