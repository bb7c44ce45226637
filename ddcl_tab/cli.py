"""The command line: thin, each command reads as what it does. Heavy imports wait until a command runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import click

from ddcl_tab.errors import DDCLTabError

if TYPE_CHECKING:
    import polars as pl

    from ddcl_tab import DDCLClassifier
    from ddcl_tab.app._train import TrainingRun
    from ddcl_tab.tuning import DDCLSearchCV

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_no_family = click.option(
    "--no-family", is_flag=True, help="Leave out the columns about the other objects of a launch, counted in CATALOG."
)


def _user_errors(command: Callable[..., None]) -> Callable[..., None]:
    """End on an error that the user can mend with one line, exit code 2 and no traceback; print warnings as notes."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            warnings.showwarning = _notes(warnings.showwarning)
            try:
                command(*args, **kwargs)
            except (DDCLTabError, OSError) as error:
                click.echo("Error: " + " ".join(str(error).split()), err=True)
                raise SystemExit(2) from None

    return run


def _notes(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Print this package's warnings as one line without a place in its code."""

    def print_note(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if category.__module__ == DDCLTabError.__module__:
            click.echo(f"Note: {message}", err=True)
        else:
            otherwise(message, category, *place, **more)

    return print_note


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ddcl-tab", prog_name="ddcl-tab")
def main() -> None:
    """Classify catalogs of space objects by prototypes that a person can read.

    Example: ddcl-tab demo, then open what it wrote in the folder demo
    """


@main.command()
@click.option("--out", type=_FOLDER, default=Path("demo"), show_default=True, help="Folder for all results.")
@_user_errors
def demo(out: Path) -> None:
    """Make a SYNTHETIC catalog, train on it, and classify its UNKNOWN objects with reasons.

    Example: ddcl-tab demo --out demo
    """
    from ddcl_tab.app._train import train_catalog, write_run
    from ddcl_tab.space import synthetic_catalog, write_satcat
    from ddcl_tab.space._satcat import read_satcat

    _use_one_thread()
    out.mkdir(parents=True, exist_ok=True)
    catalog = out / "synthetic_satcat.csv.gz"
    write_satcat(synthetic_catalog(n_rows=5000, random_state=0), catalog)
    click.echo(f"{catalog}: 5000 synthetic objects")
    frame = read_satcat(catalog)
    run = train_catalog(frame, target="OBJECT_TYPE", split="launch", seed=0, settings={}, verbose=1)
    write_run(run, out)
    _print_run(run, out)
    _classify(run.classifier, frame, "UNKNOWN", run.held_out, out / "unknown.csv", n_shown=5)


@main.command()
@click.option("--rows", type=click.IntRange(min=50), default=5000, show_default=True, help="Objects in the catalog.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another one, other objects.")
@click.option("--out", type=_FILE, required=True, help="File to write: .json or .csv, either also with .gz.")
@_user_errors
def synth(rows: int, seed: int, out: Path) -> None:
    """Make a SYNTHETIC catalog in Space-Track's SATCAT format (NASA breakup model).

    Example: ddcl-tab synth --rows 2000 --out synthetic.csv.gz
    """
    from ddcl_tab.space import synthetic_catalog, write_satcat

    write_satcat(synthetic_catalog(n_rows=rows, random_state=seed), out)
    click.echo(f"{out}: {rows} synthetic objects, seed {seed}")


@main.command()
@click.argument("kind", type=click.Choice(["satcat", "gp"]))
@click.option(
    "--group",
    help="Of CelesTrak's element sets: active, stations, last-30-days, starlink, oneweb, gnss, geo, weather, "
    "fengyun-1c-debris, cosmos-2251-debris, iridium-33-debris or any other.  [default: active]",
)
@click.option(
    "--source",
    type=click.Choice(["celestrak", "spacetrack"]),
    default="celestrak",
    show_default=True,
    help="Provider to ask.",
)
@_user_errors
def fetch(kind: Literal["satcat", "gp"], group: str | None, source: Literal["celestrak", "spacetrack"]) -> None:
    """Fetch the catalog of objects (satcat) or current element sets (gp) into the cache.

    CelesTrak needs no account and is asked once in two hours. Space-Track's account is read from SPACETRACK_IDENTITY
    and SPACETRACK_PASSWORD or ~/.netrc; it is asked once an hour for gp, once a day for satcat.

    Example: ddcl-tab fetch gp --group starlink
    """
    from ddcl_tab.space.fetch._query import make_query
    from ddcl_tab.space.fetch._retrieve import problems, retrieve, summary

    fetched = retrieve(make_query(kind, source, group))
    for problem in problems(fetched):
        click.echo(f"Note: {problem}", err=True)
    click.echo(summary(fetched))


@main.command()
@click.argument("catalog", type=_EXISTING)
@click.option("--elsets", type=_EXISTING, help="Element sets (OMM or TLE); the newest of each object is used.")
@click.option("--target", default="OBJECT_TYPE", show_default=True, help="Column of the classes.")
@click.option(
    "--split",
    type=click.Choice(["launch", "time", "random"]),
    default="launch",
    show_default=True,
    help="How objects are held out: whole launches, launches from 2015 on, or objects at random.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the split and the training.")
@click.option("--config", type=_EXISTING, help="TOML file with parameters of DDCLClassifier.")
@_no_family
@click.option("--out", type=_FOLDER, required=True, help="Folder for model, metrics and tables.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in OUT that a stopped training left.")
@_user_errors
def train(
    catalog: Path,
    elsets: Path | None,
    target: str,
    split: str,
    seed: int,
    config: Path | None,
    no_family: bool,
    out: Path,
    resume: bool,
) -> None:
    """Train on CATALOG (SATCAT as JSON or CSV, also .gz) and score on held-out objects.

    The model sees what else came from the launch of an object, unless --no-family.

    A checkpoint is written to OUT after every epoch. After a kill or a full disk the same command with --resume goes
    on, to the same bits. Ctrl-C ends training with the best epoch so far, saves it, and exits 130.

    Example: ddcl-tab train satcat.csv --elsets gp.csv --out run
    """
    from ddcl_tab.app._catalog import load_catalog
    from ddcl_tab.app._train import open_checkpoint, read_settings, train_catalog, write_run

    _use_one_thread()
    settings = read_settings(config, no_family=no_family)
    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is better known before training
    checkpoint, note = open_checkpoint(out, resume=resume)
    if note:
        click.echo(note, err=True)
    try:
        frame = load_catalog(catalog, elsets)
        run = train_catalog(
            frame, target=target, split=split, seed=seed, settings=settings, verbose=1, checkpoint=checkpoint
        )
        write_run(run, out)
    except KeyboardInterrupt:
        if checkpoint.is_ours:
            _end_interrupted("interrupted before all results were written; go on with --resume")
        _end_interrupted("interrupted before the first epoch had ended; nothing is saved")
    _print_run(run, out)
    interrupted = run.classifier.stability_.interrupted
    if interrupted is not None:
        kept = f"the model of epoch {run.classifier.best_epoch_} is saved"
        _end_interrupted(f"interrupted in epoch {interrupted}; {kept}; go on with --resume")
    checkpoint.remove()  # last of all: until then a kill costs the scores, not the training


@main.command()
@click.argument("catalog", type=_EXISTING)
@click.option("--elsets", type=_EXISTING, help="Element sets (OMM or TLE); the newest of each object is used.")
@click.option("--target", default="OBJECT_TYPE", show_default=True, help="Column of the classes.")
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Number of trials in the study, earlier ones included.",
)
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds after which no trial begins.")
@click.option("--storage", help="Journal file or URL of a database.  [default: OUT/study.journal]")
@click.option("--study", default="ddcl-tab", show_default=True, help="Name of the study in the storage.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Number of processes.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the search and all models.")
@click.option("--config", type=_EXISTING, help="TOML file with the initial parameters.")
@_no_family
@click.option("--out", type=_FOLDER, required=True, help="Folder for trials, best parameters, model and pictures.")
@_user_errors
def tune(
    catalog: Path,
    elsets: Path | None,
    target: str,
    trials: int,
    timeout: float | None,
    storage: str | None,
    study: str,
    workers: int,
    seed: int,
    config: Path | None,
    no_family: bool,
    out: Path,
) -> None:
    """Search parameters for CATALOG among trainings that pass the certificate; score the best on held-out launches.

    The same command again goes on where a killed one was.

    Example: ddcl-tab tune satcat.csv --trials 30 --timeout 3600 --out tuned
    """
    from ddcl_tab.app import _tune as work
    from ddcl_tab.app._catalog import load_catalog
    from ddcl_tab.app._train import read_settings, write_run

    _use_one_thread()
    settings = read_settings(config, no_family=no_family)
    out.mkdir(parents=True, exist_ok=True)
    frame = load_catalog(catalog, elsets)
    search = work.make_search(
        target=target,
        seed=seed,
        settings=settings,
        n_trials=trials,
        timeout=timeout,
        storage=storage or str(out / work.STUDY_FILE),
        study_name=study,
        n_workers=workers,
    )
    try:
        work.fit_search(search, frame, seed)
    finally:  # the trials say most where none of them was feasible
        _print_search(search, out)
    work.write_settings(search, settings, out)
    run = work.score_best(search, frame, seed, settings)
    write_run(run, out)
    _print_run(run, out)
    click.echo(f"and {work.BEST_FILE}, for ddcl-tab train {'--no-family ' * no_family}--config")


@main.command()
@click.argument("model", type=_EXISTING)
@click.argument("catalog", type=_EXISTING)
@click.option("--elsets", type=_EXISTING, help="Element sets, if the model was trained with them.")
@click.option("--only", help="Only objects recorded as this class, for example UNKNOWN or debris.")
@click.option("--out", type=_FILE, required=True, help="CSV file to write.")
@_user_errors
def classify(model: Path, catalog: Path, elsets: Path | None, only: str | None, out: Path) -> None:
    """Write the class of each object of CATALOG, the surest first: probability, runner-up, the columns that decided.

    Each column stands with the object's own value and what it adds to the log-odds against the runner-up [nats], and a
    similar typed object of the class is named. Doubts need held_out.csv, which train writes beside MODEL. Values are
    numbers and texts mixed: polars.read_csv wants infer_schema_length=None for the file.

    Example: ddcl-tab classify run/model.ddcl satcat.csv --out classes.csv
    """
    from ddcl_tab import DDCLClassifier
    from ddcl_tab.app._catalog import load_catalog_for
    from ddcl_tab.app._train import read_run

    _use_one_thread()
    clf = DDCLClassifier.load(model)
    held_out, _ = read_run(model, clf)
    _classify(clf, load_catalog_for(clf, catalog, elsets), only, held_out, out, n_shown=10)


@main.command()
@click.argument("model", type=_EXISTING)
@click.argument("catalog", type=_EXISTING)
@click.option("--elsets", type=_EXISTING, help="Element sets, if the model was trained with them.")
@click.option("--out", type=_FILE, default=Path("report.html"), show_default=True, help="HTML file to write.")
@_user_errors
def report(model: Path, catalog: Path, elsets: Path | None, out: Path) -> None:
    """Write one HTML page on MODEL and what it says about CATALOG.

    Its scores need held_out.csv and metrics.json, which train writes beside MODEL.

    Example: ddcl-tab report run/model.ddcl satcat.csv --out report.html
    """
    from ddcl_tab.app._report import write_report

    _use_one_thread()
    for line in write_report(model, catalog, elsets, out):
        click.echo(line)


def _use_one_thread() -> None:
    """Compute on one thread.

    A second one hardly helps networks of this size (3.2 against 3.4 s an epoch on an idle machine of two cores) and
    makes them ten times slower where another process keeps the cores busy.
    """
    import torch

    torch.set_num_threads(1)


def _end_interrupted(message: str) -> NoReturn:
    click.echo(message, err=True)
    raise SystemExit(130)  # 128 + SIGINT, as shells have it


def _print_search(search: DDCLSearchCV, out: Path) -> None:
    from ddcl_tab.app import _tune as work

    if not len(getattr(search, "cv_results_", {"trial": []})["trial"]):
        return
    missing = work.write_search(search, out)
    click.echo(f"\n{work.search_summary(search)}\n\n{work.trial_table(search)}\n")
    click.echo(f"written to {out}: {', '.join(n for n in work.SEARCH_FILES if n not in missing)}")
    for name, reason in missing.items():
        click.echo(f"no {name}: {reason}")


def _print_run(run: TrainingRun, out: Path) -> None:
    import polars as pl

    from ddcl_tab.app._tables import class_table, prototype_table, run_summary, score_table
    from ddcl_tab.app._train import RUN_FILES

    classes = [str(name) for name in run.classifier.classes_]
    click.echo(f"\n{run_summary(run.metrics)}\n")
    click.echo(f"{score_table(run.metrics)}\n")
    click.echo(f"{class_table(run.metrics)}\n")
    click.echo(prototype_table(pl.DataFrame(run.classifier.prototypes_), classes))
    click.echo(f"\nwritten to {out}: {', '.join(RUN_FILES)}")


def _classify(
    clf: DDCLClassifier, frame: pl.DataFrame, only: str | None, held_out: pl.DataFrame | None, out: Path, n_shown: int
) -> None:
    from ddcl_tab.app._catalog import classify_catalog, is_synthetic, most_probable, unknown_doubts
    from ddcl_tab.app._tables import SYNTHETIC_NOTE, as_markdown, write_csv
    from ddcl_tab.app._train import HELD_OUT_FILE

    table = classify_catalog(clf, frame, only, held_out)
    write_csv(out, table)
    notes = [SYNTHETIC_NOTE if is_synthetic(frame) else None, unknown_doubts(table, held_out, HELD_OUT_FILE)]
    for note in filter(None, notes):
        click.echo(note)
    click.echo(f"{len(table)} objects classified, written to {out}; the most probable:\n")
    click.echo(as_markdown(most_probable(table, n_shown)))


if __name__ == "__main__":
    main()
