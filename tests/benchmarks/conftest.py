from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from benchmarks.scale import running

from forking import Forked


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements on this host need not import PyTorch."""
    start = running._start

    def forked(module: str, task: Mapping[str, Any], settings: Mapping[str, str], place: Sequence[str]) -> Any:
        if place:
            return start(module, task, settings, place)
        code = f"import json, sys; from {module} import main; main(json.loads(sys.argv[1]))"
        return Forked(code, json.dumps(task), environment=settings)

    monkeypatch.setattr(running, "_start", forked)
