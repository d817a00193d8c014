"""How a contender's processes are started."""
from dataclasses import dataclass, field


class Unavailable(Exception):
    """Why a contender cannot take part."""


@dataclass
class Activation:
    """`[*prefix, python, *flags, …]`, with `variables` added to the environment."""

    prefix: list = field(default_factory=list)
    flags: list = field(default_factory=list)
    variables: dict = field(default_factory=dict)

    def command(self, environment, *arguments):
        """The command that runs Python with these arguments."""
        return [str(part) for part in (*self.prefix, environment.python, *self.flags, *arguments)]

    def environment(self, environment, **more):
        """All its environment variables."""
        return {**environment.base(), **self.variables, **more}
