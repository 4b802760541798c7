from __future__ import annotations

import pytest

from ivr.server.conversation import Services
from tests.server.installation import Installation, write_installation


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return write_installation(tmp_path_factory.mktemp("replay") / "kapok")


@pytest.fixture(scope="session")
def services(installation: Installation) -> Services:
    return installation.services()
