"""What is refused of an experiment and its data together, before anything is trained."""

import pytest

from avi.config import compose
from avi.errors import ConfigError
from avi.session import _require_rows, open_session


def test_a_gap_report_on_a_split_without_rows_is_refused():
    session = open_session(compose(["gap.splits=[valid,test]"])[0].tree)
    _require_rows(session)
    splits = session.splits
    empty = session._replace(splits=splits._replace(valid=splits.valid[:0]))
    with pytest.raises(ConfigError, match=r"valid split .* empty\. Try gap\.splits=\[train,test\]"):
        _require_rows(empty)
