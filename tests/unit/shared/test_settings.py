"""Where settings come from: variables, files that variables name, `.env`."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic_settings import SettingsError

from shared.settings import Settings


def test_a_file_holds_a_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("  between us\n", encoding="utf-8")
    monkeypatch.delenv("FACET_FLEET_TOKEN", raising=False)
    monkeypatch.setenv("FACET_FLEET_TOKEN_FILE", str(secret))
    token = Settings(_env_file=None).fleet_token
    assert token is not None
    assert token.get_secret_value() == "between us"


def test_files_come_before_the_file_of_variables_and_are_checked_as_those(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("FACET_QUOTA_JOBS=3\n", encoding="utf-8")
    (tmp_path / "jobs").write_text("7\n", encoding="utf-8")
    monkeypatch.setenv("FACET_QUOTA_JOBS_FILE", str(tmp_path / "jobs"))
    assert Settings(_env_file=tmp_path / ".env").quota_jobs == 7
    (tmp_path / "jobs").write_text("many", encoding="utf-8")
    with pytest.raises(ValueError, match="quota_jobs"):
        Settings(_env_file=None)


def test_a_file_that_is_not_there_and_two_values_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FACET_QUOTA_JOBS_FILE", str(tmp_path / "nothing"))
    with pytest.raises(SettingsError, match=r"FACET_QUOTA_JOBS_FILE names .* cannot be read"):
        Settings(_env_file=None)
    monkeypatch.setenv("FACET_QUOTA_JOBS", "5")
    with pytest.raises(SettingsError, match="both set"):
        Settings(_env_file=None)
