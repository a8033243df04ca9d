"""The command line, a thin layer; what is heavy is imported inside the commands.

An error is one line on standard error. Exit codes: 0, 2 for anything wrong with what was given, 1 for a failure on the
way, 130 for a cancel. ``STEM4D_DEBUG=1`` adds tracebacks.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from stem4d_panel import __version__
from stem4d_panel.cli_text import about_lines, by, finite, limits_of, line_kept, one_line, template
from stem4d_panel.errors import Cancelled, DataError, SettingError
from stem4d_panel.settings import SHORT_NAMES, Settings, declaration, parse_value, read_toml

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; the entry point ``stem4d``.

    Parameters
    ----------
    args : sequence of str, optional
        Defaults to those of the process.

    Returns
    -------
    int
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks must not end a run
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions and not _debug():  # of libraries; our own are part of the result
                warnings.simplefilter("ignore")
            code = _invoke(sys.argv[1:] if args is None else args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has gone
        _drop_output()
        return 1
    except (OSError, KeyboardInterrupt) as error:
        _drop_output()
        return _tell(error)
    return code


def _invoke(args: Sequence[str]) -> int:
    command: Any = get_command(app)
    try:
        with command.make_context("stem4d", list(args)) as context:
            command.invoke(context)
    except typer.Exit as done:
        return int(done.exit_code)
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        return _tell(error)
    return 0


def _tell(error: BaseException) -> int:
    """Say in one line on standard error what went wrong; returns the exit code for it."""
    if _debug():
        traceback.print_exception(error)
    name = "stem4d"
    if isinstance(error, (KeyboardInterrupt, Cancelled)):
        text, code = "cancelled", 130
    elif isinstance(error, (DataError, SettingError)):
        text, code = str(error), 2
    elif hasattr(error, "format_message") and hasattr(error, "exit_code"):  # typer's own, of how it was called
        path = getattr(getattr(error, "ctx", None), "command_path", name)
        text, code = f"{error.format_message().rstrip('.')} ({path} --help tells more)", int(error.exit_code)
    else:
        text, code = f"failed: {type(error).__name__}: {error} (STEM4D_DEBUG=1 tells more)", 1
    print(f"{name}: {one_line(text)}", file=sys.stderr, flush=True)
    return code


def _debug() -> bool:
    return os.environ.get("STEM4D_DEBUG", "") not in ("", "0")


def _drop_output() -> None:
    """Send what is left in standard output nowhere, so that the interpreter does not fail on it at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _help(name: str) -> str:
    """Help of an option that stands for a setting, from the setting's declaration."""
    parameter = declaration(name)
    default = "" if parameter.default is None else f" Default {parameter.default}."
    return f"{parameter.doc} {limits_of(parameter)}{default}"


def _settings(config: str | None, assigned: Sequence[str], short: dict[str, str | None]) -> Settings:
    """Defaults, then the file, then ``--set`` in order, then the short options."""
    settings = Settings.make() if config is None else _of_file(config)
    texts: dict[str, str] = {}
    for text in assigned:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingError(f"--set: {text!r} is not allowed; it takes group.name=value, such as prepare.bin=2")
        texts[SHORT_NAMES.get(name.strip(), name.strip())] = value.strip()
    texts |= {SHORT_NAMES[name]: value for name, value in short.items() if value is not None}
    return settings.replace({name: parse_value(name, value) for name, value in texts.items()})


def _of_file(path: str) -> Settings:
    """Settings from a TOML file, or those that a result was made with."""
    if path.lower().endswith((".hspy", ".h5", ".hdf5")):
        from stem4d_panel.results.store import load_result
        from stem4d_panel.scan.probe import probe

        probe(Path(path))
        return load_result(path).settings
    changes = read_toml(path)
    try:
        return Settings.make(changes)
    except SettingError as error:
        raise SettingError(f"{Path(path).name}: {error}") from error


Dataset = Annotated[str | None, typer.Option(help="Path of the scan inside a file that has several.")]
ScanShape = Annotated[str | None, typer.Option(metavar="Y,X", help=_help("scan_shape"))]
Assigned = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="GROUP.NAME=VALUE", help="Any setting; wins over --config. Repeatable."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
MaxMemory = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Memory that data may fill, such as 2GB; half of what is free when absent."),
]
CacheDir = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="Where frames go that are larger than the memory they may take.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


@contextlib.contextmanager
def _within(max_memory: str | None, cache_dir: str | None = None) -> Iterator[None]:
    """Hold the process to limits of memory."""
    if max_memory is None and cache_dir is None:  # what is heavy need not be imported
        yield
        return
    from stem4d_panel.runtime import memory

    size = None if max_memory is None else memory.parse_bytes(max_memory, "--max-memory")
    with memory.limits.held(size, cache_dir):
        yield


def _version(wanted: bool) -> None:
    if wanted:
        print(f"stem4d {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _stem4d(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Interactive bimodal analysis of 4D-STEM scans."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def serve(
    path: Annotated[
        str | None, typer.Argument(help="A scan, a result or a folder; the built-in sample when absent.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The first free one from 5006 when absent.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; one beyond this machine takes a token.")
    ] = "127.0.0.1",
    token_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="File with a token that a browser must show; or the environment's STEM4D_TOKEN."
        ),
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let other machines in without a token.")] = False,
    prefix: Annotated[str, typer.Option(metavar="/PATH", help="Path below which all lies, for a proxy.")] = "",
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST[:PORT]", help="What a proxy calls the server in the browser. Repeatable."),
    ] = None,
    max_sessions: Annotated[int, typer.Option(metavar="NUMBER", help="Pages that may be open at a time.")] = 40,
    max_memory: MaxMemory = None,
    cache_dir: CacheDir = None,
) -> None:
    """Open the dashboard in the browser."""
    if path is not None and not os.path.exists(path):
        raise DataError(f"{path}: no such file or folder")
    from stem4d_panel.app.access import plan_access

    access = plan_access(host, token_file, insecure, prefix, allow_origin or (), max_sessions)
    from stem4d_panel.app.serve import serve as serve_app

    with _within(max_memory, cache_dir):
        serve_app(None if path is None else Path(path), port, not no_browser, access)


@app.command()
def run(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Scans; sample:SEED is the simulated one.", show_default=False)
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="OUT", help="A file for one input, a folder for several.")
    ],
    rank: Annotated[str | None, typer.Option(metavar="NUMBER", help=_help("rank"))] = None,
    threshold: Annotated[str | None, typer.Option(metavar="NUMBER", help=_help("threshold"))] = None,
    seed: Annotated[str | None, typer.Option(metavar="NUMBER", help=_help("seed"))] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Settings: TOML as 'stem4d settings' prints it, or a result (.hspy), whose settings are taken.",
        ),
    ] = None,
    assigned: Assigned = None,
    dataset: Dataset = None,
    scan_shape: ScanShape = None,
    max_memory: MaxMemory = None,
    cache_dir: CacheDir = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Make the frames on a Dask cluster: tls://HOST:PORT, or local:N for N processes here.",
        ),
    ] = None,
    plain_scheduler: Annotated[
        bool, typer.Option("--plain-scheduler", help="Accept tcp:// to another machine, which is not encrypted.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(metavar="OUT.html", help="Also write a page that compares what was found; see 'stem4d compare'."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Analyse scans without a screen."""
    short = {"rank": rank, "threshold": threshold, "seed": seed, "scan_shape": scan_shape}
    settings = _settings(config, assigned or (), short)
    from stem4d_panel import cli_run

    worst, done = 0, cli_run.Batch()
    jobs = cli_run.plan(inputs, output)
    if compare is not None:
        cli_run.check_page(compare, overwrite, len(jobs))
    with _within(max_memory, cache_dir), cli_run.workers(scheduler, plain_scheduler) as client:
        for job in jobs:
            try:
                report = cli_run.run(job, settings, dataset, overwrite, client)
                text = json.dumps(finite(report.as_dict())) if as_json else str(report)
            except Cancelled:
                raise
            except Exception as error:  # the next input may be sound
                worst = max(worst, _tell(error))
                done.failed(job, error)
                continue
            done.ended(report)
            print(text, flush=True)
    if not as_json and len(jobs) > 1:
        print("\n".join(map(line_kept, done.lines())), flush=True)
    if compare is not None:
        from stem4d_panel.cli_export import compare as compare_results

        print(
            one_line(compare_results(done.saved, compare, None, overwrite)), file=sys.stderr if as_json else sys.stdout
        )
    raise typer.Exit(worst)


@app.command()
def info(
    path: Annotated[str, typer.Argument(metavar="INPUT", help="A scan.")],
    assigned: Assigned = None,
    dataset: Dataset = None,
    scan_shape: ScanShape = None,
    max_memory: MaxMemory = None,
    as_json: AsJson = False,
) -> None:
    """Tell what is in a file, from its headers, and whether its analysis fits the machine."""
    settings = _settings(None, assigned or (), {"scan_shape": scan_shape})
    from stem4d_panel.scan.about import info as about_file
    from stem4d_panel.scan.probe import probe

    probe(Path(path))
    with _within(max_memory):
        about = about_file(path, dataset, settings=settings)
    print(json.dumps(finite(about)) if as_json else "\n".join(map(line_kept, about_lines(about))))


@app.command()
def sample(
    out: Annotated[str, typer.Argument(metavar="OUT", help="File to write, such as sample.hspy.")],
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Seed of the simulation.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write the built-in simulated scan with its truth."""
    from stem4d_panel.cli_run import check_target
    from stem4d_panel.scan.sample import sample_scan
    from stem4d_panel.scan.write import write_scan

    check_target(out, overwrite)
    scan = sample_scan(seed)
    write_scan(scan, out, overwrite)
    count = len(scan.truth.crystals) if scan.truth else 0
    print(f"{one_line(out)}: {by(scan.shape)} {scan.dtype}, {count} crystals, truth under /truth")


@app.command("settings")
def settings_command() -> None:
    """Print every setting with its default, as a file for --config."""
    print("\n".join(template()))


Saved = Annotated[str, typer.Argument(metavar="RESULT", help="A saved result.", show_default=False)]


@app.command("report")
def report_command(
    result: Saved,
    output: Annotated[str, typer.Option("-o", "--output", metavar="OUT.html", help="The page to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Write one page of figures and numbers of a result, which holds all it shows."""
    from stem4d_panel import cli_export

    print(one_line(cli_export.report(result, output, overwrite)))


@app.command("export")
def export_command(
    result: Saved,
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="Its ending says what: .svg, .pdf, .png a figure, .csv a table, .emd or .h5 arrays for py4DSTEM; a folder everything.",
        ),
    ],
    figure: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Figure, such as class-patterns; classes when absent.")
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Table, such as particles; classes when absent.")
    ] = None,
    label: Annotated[int | None, typer.Option(metavar="NUMBER", help="The class that the figure shows.")] = None,
    scale: Annotated[
        str | None, typer.Option(metavar="NAME", help="Intensities of patterns: root, log or linear.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write figures, tables or arrays of a result for other programs."""
    from stem4d_panel import cli_export

    options = {name: value for name, value in (("label", label), ("scale", scale)) if value is not None}
    for path in cli_export.export(result, output, figure or (), table or (), options, overwrite):
        print(one_line(path))


@app.command("compare")
def compare_command(
    results: Annotated[list[str], typer.Argument(metavar="RESULT", help="Saved results.", show_default=False)],
    output: Annotated[str, typer.Option("-o", "--output", metavar="OUT.html", help="The page to write.")],
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="NUMBER", help="Pseudo-distance up to which classes are one structure."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Match the crystalline classes of several results under rotation, and write one page of it."""
    from stem4d_panel import cli_export

    print(one_line(cli_export.compare(results, output, threshold, overwrite)))
