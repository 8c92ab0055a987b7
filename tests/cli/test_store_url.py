"""A store that is named on the command line is judged like the one in the settings, before anything is connected."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("option", ["--to", "--from"])
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0?planted=1", "redis://127.0.0.1:1/0?db=planted", "rediss://a..b"])
def test_url_that_no_driver_takes_is_one_line(tmp_path, option, url):
    (tmp_path / "proxy.toml").write_text(
        'state_dir = "state"\n[upstream]\nurl = "http://127.0.0.1:1"\n[source]\nkind = "token_file"\npath = "tokens.toml"\n'
        '[store]\nurl = "redis://127.0.0.1:1"\n'
    )
    command = [sys.executable, "-m", "proxy.cli", "store", "migrate", option, url, "--config", "proxy.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (2, "") == (done.returncode, done.stdout)
    assert "the store URL " in done.stderr
    assert "planted" not in done.stderr
    assert "Traceback" not in done.stderr
