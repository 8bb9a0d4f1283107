"""The command line, `tml ...`: every command imports what it needs only when it runs.

An error anybody can make is one sentence on stderr and exit code 1 (2 for wrong usage); `--debug` shows the
traceback.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="tml",
    help="TML Lab: hear, decide and speak in 200 ms turns.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
FIRST_CHAPTER = NOTEBOOKS / "00_start_here.ipynb"
POLICY = (
    "What it remembers by: window, sinks+window, instructions (the usual one: an instruction is typed in again before "
    "it is out of reach), or compact (names and reminders, too)."
)
_debug = False


def main() -> None:
    """Entry point of the `tml` script. `--debug` may stand anywhere on the line."""
    arguments = sys.argv[1:]
    if "--debug" in arguments:
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    app(arguments)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that hold for every command."""
    global _debug
    _debug = debug


def plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an exception of a command into one sentence on stderr and exit code 1."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            typer.echo("tml: stopped", err=True)
            raise typer.Exit(130) from None
        except Exception as error:
            if _debug:
                raise
            typer.echo(f"tml: {sentence(error)}", err=True)
            raise typer.Exit(1) from None

    return wrapped


def sentence(error: Exception) -> str:
    """One line for an exception: the library's own errors are sentences already, others name their type."""
    text = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError):
        remedy = 'install it with `make lab`, or `pip install -e ".[lab,judges,serve]" -c constraints.txt`'
        return f"the Python package {error.name!r} is missing: {remedy}; `tml doctor` lists what works."
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; check the path and try again."
    if isinstance(error, (ValueError, OSError)) and text:
        return text
    what = f"{type(error).__name__}: {text or 'no message'}"
    return f"unexpected {what} (run again with --debug for the traceback)"


@app.command()
@plainly
def doctor(
    checkpoint: Annotated[
        str, typer.Option(help="Checkpoint to look at: a shipped name or a folder.")
    ] = "nano",
) -> None:
    """Say what works on this machine, and how to get the rest. Exit code 0 when the essentials work."""
    from rich.console import Console
    from rich.markup import escape

    from tml_lab.doctor import run_checks

    console = Console(highlight=False, soft_wrap=True)
    broken = []
    for check in run_checks(checkpoint):
        mark = (
            "[green]OK     [/]"
            if check.ok
            else "[red]MISSING[/]"
            if check.essential
            else "[yellow]missing[/]"
        )
        console.print(f"{mark}  {check.name:<14} {escape(check.found)}")
        if not check.ok:
            console.print(f"                        -> {escape(check.remedy)}")
            broken += [check.name] if check.essential else []
    if broken:
        typer.echo(f"tml doctor: {', '.join(broken)} must be repaired before the lab runs.", err=True)
        raise typer.Exit(1)
    console.print("The essentials work: `tml lab` opens the first chapter.")


@app.command()
@plainly
def lab(
    notebook: Annotated[Path, typer.Argument(help="Notebook to open.")] = FIRST_CHAPTER,
    port: Annotated[int | None, typer.Option(help="Port to listen on; the next free one if taken.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
) -> None:
    """Start JupyterLab at the first chapter."""
    import importlib.util
    import subprocess
    from urllib.parse import quote

    if not notebook.is_file():
        raise FileNotFoundError(f"there is no notebook {notebook}: choose one of those in {NOTEBOOKS}.")
    if importlib.util.find_spec("jupyterlab") is None:
        raise ModuleNotFoundError("jupyterlab", name="jupyterlab")
    notebook = notebook.resolve()
    # The address, not the file as argument: so the printed link leads to the chapter too (a remote machine).
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={notebook.parent}"]
    command.append(f"--LabApp.default_url=/lab/tree/{quote(notebook.name)}")
    command += [f"--port={port}"] if port is not None else []
    command += [] if browser else ["--no-browser"]
    if getattr(os, "geteuid", lambda: 1)() == 0:  # in a container everybody is root, and Jupyter refuses root
        command.append("--allow-root")
    raise typer.Exit(subprocess.call(command))


@app.command()
@plainly
def train(
    preset: Annotated[str, typer.Option(help="pico, pico_eyes, nano or mini.")] = "nano",
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/PRESET.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Be finished in so many minutes: the schedule follows the clock.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run's last state when there is one.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of data and weights, from 0 on.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    lesson: Annotated[
        str | None,
        typer.Option(
            help="Instead of the curriculum: easy, all, further, everything, or to see glimpses, first_sight, "
            "second_sight, typed_sight, seeing; to hear what is asked of the eyes easy_requests, requests."
        ),
    ] = None,
    init: Annotated[str | None, typer.Option(help="Start from this checkpoint instead of random weights.")] = None,
    eyes: Annotated[str | None, typer.Option(help="With --init: a checkpoint that sees and lends its eyes.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps; the preset's when not given.")] = None,
    score_every: Annotated[
        int, typer.Option(min=0, help="Score every family on held-out voices each so many steps; 0: never.")
    ] = 0,
    sharded: Annotated[
        bool, typer.Option(help="With several processes: each keeps its share of the weights (FSDP2).")
    ] = False,
    render: Annotated[
        int, typer.Option(min=0, help="So many processes go on rendering new episodes of the lesson meanwhile.")
    ] = 0,
    compiled: Annotated[bool, typer.Option(help="Compile parts of the model first (needs a C++ compiler).")] = False,
    processes: Annotated[
        int, typer.Option(min=1, help="Train in so many processes that share the work; on a CPU, one for each core.")
    ] = 1,
) -> None:
    """Train an interaction model from scratch; run it again to resume."""
    from tml_lab.train.parallel import finish, launch

    out = out or Path("runs") / preset
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        from tml_lab.train.beforehand import checked_settings

        checked_settings(  # here once; in the processes it would be said as often as there are some
            preset, out, lesson=lesson, init=init, eyes=eyes, device=device, resume=resume, render=render, seed=seed,
            sharded=sharded, scored=score_every > 0, processes=processes,
        )  # fmt: skip
        raise typer.Exit(launch(processes, ["-m", "tml_lab.cli", *sys.argv[1:]]))
    from tml_lab.train.loop import train as run_training

    def score(model: Any, tokenizer: Any) -> dict[str, float]:
        from tml_lab.bench.quick import quick

        return quick(model, tokenizer, n=4)

    folder = run_training(
        preset=preset,
        out=out,
        minutes=minutes,
        resume=resume,
        seed=seed,
        device=device,
        lesson=lesson,
        init=init,
        eyes=eyes,
        steps=steps,
        score=score if score_every else None,
        score_every=score_every,
        compiled=compiled,
        sharded=sharded,
        render=render,
    )
    typer.echo(f"the checkpoint lies in {folder}")
    finish()


@app.command()
@plainly
def adapt(
    voice: Annotated[
        Path, typer.Argument(help="Folder of a voice, or of recordings named by what they say: seven.wav.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the new checkpoint; default runs/NAME OF VOICE.")] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="Minutes of training at most.")] = 8.0,
    init: Annotated[str, typer.Option(help="Checkpoint to begin with.")] = "nano",
    seed: Annotated[int, typer.Option(help="Seed of scenes and order.")] = 0,
    processes: Annotated[
        int | None, typer.Option(min=1, help="That share the work; by default one for each core.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Let a model get to know a voice, and say how much better it hears it; run it again to resume."""
    from tml_lab.bench.known_voice import compare
    from tml_lab.train.adapt import adapt as run_adapt

    out = out or Path("runs") / voice.resolve().name
    folder = run_adapt(voice, out, minutes, init, seed, processes, device=device)
    typer.echo(compare(voice, init, folder))
    typer.echo(f"the checkpoint lies in {folder}: give it to --checkpoint, or to LiveSession({str(folder)!r})")


@app.command()
@plainly
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Which to run; none: those it was trained for.")] = None,
    json: Annotated[
        Path | None, typer.Option(help="Also write the results to this file, one by one; an interrupted run goes on.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="Checkpoint: a shipped name or a folder.")] = "nano",
    items: Annotated[int, typer.Option(min=1, help="Items per family.")] = 50,
    full: Annotated[
        bool, typer.Option("--full", help="So many items that each headline's interval is at most +-5 points (hours).")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the items, from 0 on.")] = 0,
    split: Annotated[list[str] | None, typer.Option(help="test or human; each one's own if unset.")] = None,
    references: Annotated[bool, typer.Option(help="Also play the four reference rows.")] = True,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    report: Annotated[Path | None, typer.Option(help="Folder for pages: each item seen, and heard.")] = None,
    media: Annotated[
        int, typer.Option(min=0, help="On its pages, of each family so many items with sound and pictures.")
    ] = 12,
    folders: Annotated[
        Path | None, typer.Option(help="Folder for Full-Duplex-Bench's scenes in its own form, for its own scripts.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every benchmark there is.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the benchmarks and stop.")] = False,
) -> None:
    """Run benchmarks, each beside its reference rows."""
    from tml_lab.bench import registry

    if list_:
        for name, benchmark in registry.BENCHMARKS.items():
            typer.echo(f"{name:<16} {benchmark.title}")
        return
    registry.run(
        ["all"] if all_ else names or [],
        checkpoint=checkpoint,
        n=None if full else items,
        seed=seed,
        json_path=json,
        splits=split,
        references=references,
        device=device,
        report=report,
        folders=folders,
        media=media,
    )


@app.command()
@plainly
def redteam(
    json: Annotated[Path | None, typer.Option(help="Write the report here; default under runs/redteam.")] = None,
    checkpoint: Annotated[str, typer.Option(help="Checkpoint: a shipped name or a folder.")] = "nano",
    items: Annotated[int, typer.Option(min=1, help="Attacks to play in all.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the search.")] = 0,
    keep: Annotated[Path | None, typer.Option(help="Folder for a recording of each finding.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Search for what breaks the refusals, and for what is refused wrongly; run it again to go on."""
    from tml_lab.bench.redteam_report import run

    run(checkpoint, items=items, seed=seed, json_path=json, device=device, keep=keep)


@app.command()
@plainly
def play(
    input: Annotated[Path, typer.Argument(metavar="INPUT.wav", help="Recording of any length and rate.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; made when missing.")],
    video: Annotated[Path | None, typer.Option(help="Video that the model watches meanwhile.")] = None,
    text: Annotated[list[str] | None, typer.Option(help='Typed words "SECONDS: words"; repeatable.')] = None,
    tail: Annotated[float, typer.Option(help="Seconds of silence after the input, for an answer.")] = 2.0,
    attention: Annotated[str, typer.Option(help="Head to record, such as L5H0; auto or none.")] = "auto",
    checkpoint: Annotated[str, typer.Option(help="Checkpoint: a shipped name or a folder.")] = "nano",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of the speech noise.")] = 0,
    colleague: Annotated[
        bool, typer.Option("--colleague", help="Built-in tools answer what the model asks (if it was trained to ask).")
    ] = False,
    policy: Annotated[str | None, typer.Option(help=POLICY)] = None,
) -> None:
    """Stream a recording through the model turn by turn and write what it said and when."""
    from tml_lab.play import play as run_play

    run_play(
        input,
        out,
        video=video,
        text=text or [],
        tail=tail,
        attention=attention,
        checkpoint=checkpoint,
        device=device,
        seed=seed,
        colleague=colleague,
        policy=policy,
    )


@app.command()
@plainly
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines, which then need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8321,
    checkpoint: Annotated[str, typer.Option(help="Checkpoint: a shipped name or a folder.")] = "nano",
    folder: Annotated[
        Path | None, typer.Option(help="Keep sessions here over a restart; without it they end with the server.")
    ] = None,
    token: Annotated[
        list[str] | None, typer.Option(envvar="TML_TOKEN", help="Who has it may come in; repeatable.")
    ] = None,
    origin: Annotated[list[str] | None, typer.Option(help="Pages of this origin may come too; repeatable.")] = None,
    certfile: Annotated[Path | None, typer.Option(help="Certificate (PEM), for wss.")] = None,
    keyfile: Annotated[Path | None, typer.Option(help="The certificate's key (PEM).")] = None,
    max_sessions: Annotated[int | None, typer.Option(min=1, help="Sessions at a time; 64 when not given.")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Of conversation in one session; 240 when not given.")
    ] = None,
    max_gb: Annotated[float | None, typer.Option(min=0.1, help="Memory for all sessions; 4 when not given.")] = None,
    idle_minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Without a chunk, then a session is closed; 30 when not given.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads that share out the turns; 1 by default.")] = None,
    policy: Annotated[str | None, typer.Option(help=POLICY)] = None,
) -> None:
    """Serve sessions to notebooks on this and other machines; Ctrl-C or SIGTERM ends it."""
    from tml_lab.serve.launch import serve as run_server
    from tml_lab.serve.limits import MB

    run_server(
        checkpoint=checkpoint,
        host=host,
        port=port,
        folder=folder,
        tokens=token or [],
        origins=origin or [],
        certfile=certfile,
        keyfile=keyfile,
        policy=policy,
        say=typer.echo,
        sessions=max_sessions,
        threads=threads,
        seconds=None if max_minutes is None else 60 * max_minutes,
        idle=None if idle_minutes is None else 60 * idle_minutes,
        memory=None if max_gb is None else int(1000 * MB * max_gb),
    )


if __name__ == "__main__":
    main()
