"""What `avi gap` does around the report: the identity of what it keeps, its lines, how it ends."""

import pytest

from avi.run import measure as command

TREE = {key: {} for key in command.DECISIVE}


class Rows:
    """Stands in for a session: only the identity of its rows is asked for."""

    def __init__(self, digest):
        self.digest = digest

    def data_sha256(self):
        return self.digest


@pytest.mark.parametrize("name", ["versions", "instruction_set"])
def test_searches_of_other_rows_or_another_machine_are_not_taken_up(name, monkeypatch):
    before = command.identity(Rows("ab"), TREE)
    assert command.identity(Rows("ab"), TREE) == before
    assert command.identity(Rows("cd"), TREE) != before
    assert command.identity(Rows("ab"), TREE | {"precision": "float64"}) != before
    monkeypatch.setattr(command, name, lambda: "another")
    assert command.identity(Rows("ab"), TREE) != before
