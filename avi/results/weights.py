"""What a run was given of another program's tensors: part of run.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Weights:
    """The file of tensors that a run started from."""

    file: str = ""
    sha256: str = ""
    map: str = ""  # the name map, a name or a path
    lines: Mapping[str, str] = field(default_factory=dict)  # parameter -> where it comes from
    left_out: tuple[str, ...] = ()  # tensors that the map says are not used

    @property
    def known(self) -> bool:
        """Whether there was one."""
        return bool(self.file)
