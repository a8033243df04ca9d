"""The command line, a thin layer; what is heavy is imported inside the commands.

An error is one line on standard error. Exit codes: 0, 2 for anything wrong with what was given, 1 for a failure on the
way, 130 for a cancel. ``STEM4D_DEBUG=1`` adds tracebacks.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import textwrap
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from stem4d_panel import __version__
from stem4d_panel.errors import Cancelled, DataError, SettingError
from stem4d_panel.parameters import limits
from stem4d_panel.settings import GROUPS, SHORT_NAMES, Settings, declaration, parse_value, read_toml

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
    print(f"{name}: {_line(text)}", file=sys.stderr, flush=True)
    return code


def _line(text: str) -> str:
    """A text as one line in which everything prints."""
    joined = " ".join(part.strip() for part in text.splitlines() if part.strip())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)


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
    return f"{parameter.doc} {_limits(parameter)}{default}"


def _limits(parameter: Any) -> str:
    """What a parameter accepts, as a sentence."""
    text = limits(parameter)
    return text[0].upper() + text[1:] + "."


def _settings(config: str | None, assigned: Sequence[str], short: dict[str, str | None]) -> Settings:
    """Defaults, then the file, then ``--set`` in order, then the short options."""
    settings = Settings.make()
    if config is not None:
        changes, name = read_toml(config), Path(config).name
        try:
            settings = settings.replace(changes)
        except SettingError as error:
            raise SettingError(f"{name}: {error}") from error
    texts: dict[str, str] = {}
    for text in assigned:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingError(f"--set: {text!r} is not allowed; it takes group.name=value, such as prepare.bin=2")
        texts[SHORT_NAMES.get(name.strip(), name.strip())] = value.strip()
    texts |= {SHORT_NAMES[name]: value for name, value in short.items() if value is not None}
    return settings.replace({name: parse_value(name, value) for name, value in texts.items()})


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
        int | None, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; the first free one from 5006 when absent.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
    max_memory: MaxMemory = None,
    cache_dir: CacheDir = None,
) -> None:
    """Open the dashboard in the browser."""
    if path is not None and not os.path.exists(path):
        raise DataError(f"{path}: no such file or folder")
    from stem4d_panel.app.serve import serve as serve_app

    with _within(max_memory, cache_dir):
        serve_app(None if path is None else Path(path), port, not no_browser)


@app.command()
def run(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Scans.", show_default=False)],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="OUT", help="A file for one input, a folder for several.")
    ],
    rank: Annotated[str | None, typer.Option(metavar="NUMBER", help=_help("rank"))] = None,
    threshold: Annotated[str | None, typer.Option(metavar="NUMBER", help=_help("threshold"))] = None,
    seed: Annotated[str | None, typer.Option(metavar="NUMBER", help=_help("seed"))] = None,
    config: Annotated[
        str | None, typer.Option(metavar="FILE.toml", help="Settings, as 'stem4d settings' prints them.")
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
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Analyse scans without a screen."""
    short = {"rank": rank, "threshold": threshold, "seed": seed, "scan_shape": scan_shape}
    settings = _settings(config, assigned or (), short)
    from stem4d_panel import cli_run

    worst = 0
    with _within(max_memory, cache_dir), cli_run.workers(scheduler, plain_scheduler) as client:
        for job in cli_run.plan(inputs, output):
            try:
                report = cli_run.run(job, settings, dataset, overwrite, client)
                text = json.dumps(_finite(report.as_dict())) if as_json else str(report)
            except Cancelled:
                raise
            except Exception as error:  # the next input may be sound
                worst = max(worst, _tell(error))
                continue
            print(text, flush=True)
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
    print(json.dumps(_finite(about)) if as_json else "\n".join(map(_line_kept, _about(about))))


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
    print(f"{_line(out)}: {_by(scan.shape)} {scan.dtype}, {count} crystals, truth under /truth")


@app.command("settings")
def settings_command() -> None:
    """Print every setting with its default, as a file for --config."""
    print("\n".join(_template()))


def _template() -> Iterator[str]:
    yield f"# Settings of stem4d {__version__}, for: stem4d run --config FILE.toml"
    yield "# Each stands here with its default; take away the # in front of those that you change."
    for group, cls in GROUPS.items():
        yield f"\n[{group}]"
        for name, parameter in cls.declared().items():
            yield ""
            yield from textwrap.wrap(parameter.doc, 100, initial_indent="# ", subsequent_indent="# ")
            yield f"# {_limits(parameter)}"
            default = "" if parameter.default is None else json.dumps(parameter.default)
            yield f"#{name} = {default}".rstrip()


def _about(about: dict[str, Any]) -> Iterator[str]:
    from stem4d_panel.runtime.memory import in_bytes

    yield f"{about['name']}: {about['format']}, {in_bytes(about['bytes_on_disk'])}"
    for found in about["datasets"]:
        parts = (found["path"] or "data", _by(found["shape"]), found["dtype"], found["stored"])
        yield "  " + "  ".join(filter(None, parts))
    if "scan_shapes" in about:
        yield "  frames without a scan shape; data.scan_shape takes " + " or ".join(about["scan_shapes"])
    if "shape" not in about:
        return
    picked = f" {about['dataset']}" if about.get("dataset") and len(about["datasets"]) > 1 else ""
    yield f"  scan{picked}: {_by(about['shape'])} {about['dtype']}, {in_bytes(about['bytes'])} in memory"
    for axis in about["axes"]:
        origin = f", {axis['origin']}" if axis["origin"] != "none" else ", uncalibrated"
        yield f"    {axis['name']:<2} {axis['size']} × {axis['scale']:.4g} {axis['units']} from {axis['offset']:.4g}{origin}"
    units = {"voltage": "kV", "convergence": "mrad", "probe_size": "nm"}
    for name, value in about["instrument"].items():
        yield f"    {name} {value:.4g} {units.get(name, '')}".rstrip()
    for text in about["warnings"]:
        yield f"  warning: {text}"
    yield f"  memory: {about['memory']['text']}"


def _line_kept(text: str) -> str:
    """As `_line`, the indent kept."""
    return " " * (len(text) - len(text.lstrip(" "))) + _line(text)


def _by(sizes: Sequence[int]) -> str:
    return " × ".join(map(str, sizes)) or "one value"


def _finite(value: Any) -> Any:
    """Plain values with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and value - value != 0 else value
