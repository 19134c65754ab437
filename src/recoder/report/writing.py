"""``write_report``: a fitted model as a page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from recoder import __version__
from recoder._checks import path_text, whole_number
from recoder._files import atomic_write, check_writable
from recoder.api.fitted import FittedModel
from recoder.data import HeldOut, Interactions
from recoder.errors import MissingDependencyError
from recoder.report.about_data import data_section
from recoder.report.accuracy import accuracy_section, activity_section, remembered_section
from recoder.report.breadth import breadth_section
from recoder.report.item_map import map_section
from recoder.report.judged import Judged
from recoder.report.learning import training_section
from recoder.report.parts import Section
from recoder.report.people import people_section
from recoder.report.settings import settings_section

__all__ = ["write_report"]


def write_report(
    model: FittedModel,
    path: str | os.PathLike[str],
    *,
    test: HeldOut | Interactions | None = None,
    valid: HeldOut | Interactions | None = None,
    num_users: int = 12,
    seed: int = 0,
) -> str:
    """Writes one HTML page about a model and returns its path; the page asks nothing of any server.

    It shows what can be said: metrics beside most-popular, quality by activity and popularity and ticked hits need
    ``test``; the activity of users, and users of the training data, need histories in the model; the map needs titles
    and factors of items. Users are shown by their ids: those of ``test``, or, without it, some of the training data
    where the model has histories. Think of privacy before you pass such a page on.

    Args:
        model: what ``recoder.fit`` or ``recoder.load`` returned; it is not changed.
        path: the file; a previous one stays whole until the new one is.
        test: users to judge by, as in ``FittedModel.evaluate``.
        valid: validation users, whose metrics then stand below those of ``test``.
        num_users: users that are shown with their history and recommendations, at least 1.
        seed: of the choice of these.

    Raises:
        MissingDependencyError: if jinja2 is not installed (extra ``report``).
        ConfigError: if ``num_users`` or ``seed`` is out of range.
        DataTypeError, EmptyDataError, NotInitializedError, UnknownIdError: for ``test`` and ``valid``, as
            ``FittedModel.evaluate``.
        FileWriteError: if the file cannot be written.
    """
    path = path_text("path", path)
    num_users, seed = whole_number("num_users", num_users, 1), whole_number("seed", seed, 0)
    template = _template()
    check_writable(path)
    sections = [section for section in _sections(model, test, valid, num_users, seed) if section is not None]
    page = template.render(title=_title(model), facts=_facts(model), sections=sections)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _sections(
    model: FittedModel,
    test: HeldOut | Interactions | None,
    valid: HeldOut | Interactions | None,
    num_users: int,
    seed: int,
) -> Iterator[Section | None]:
    of_test, of_valid = (None if users is None else Judged.of(model, users) for users in (test, valid))
    yield data_section(model)
    yield training_section(model)
    if of_test is None and of_valid is None:
        yield remembered_section(model)
    else:
        yield accuracy_section(of_test, of_valid)
    if of_test is not None:
        yield activity_section(of_test)
        yield breadth_section(of_test, model.item_counts)
    yield people_section(model, of_test, num_users, seed)
    yield map_section(model)
    yield settings_section(model)


def _title(model: FittedModel) -> str:
    name = model.about.recipe or type(model.recoder.model).__name__
    users = f"{model.about.num_users:,} users and " if model.about.num_users else ""
    return f"{name}, trained on {users}{len(model.item_ids):,} items"


def _facts(model: FittedModel) -> list[tuple[str, str]]:
    recipe = [] if model.about.recipe is None else [("recipe", model.about.recipe)]
    return [
        *recipe,
        ("model", type(model.recoder.model).__name__),
        ("seed", str(model.recoder.seed)),
        ("Recoder", __version__),
        ("made on", datetime.now(timezone.utc).date().isoformat()),
    ]


def _template() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise MissingDependencyError('a report needs jinja2: pip install "recsys-recoder[report]"') from error
    loader = jinja2.PackageLoader("recoder.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html")
