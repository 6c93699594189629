"""The interface of a measurement device."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol as Interface

from search.latency.conversation import Conversation
from search.latency.onnx_files import Network
from search.latency.protocol import Protocol
from search.latency.reading import State


class Device(Interface):
    """A place where networks are measured."""

    @property
    def name(self) -> str:
        """As the user writes it."""

    @property
    def runtimes(self) -> tuple[str, ...]:
        """What it can run networks with, the default first."""

    @property
    def lease(self) -> str:
        """Which lease a measurement on it holds."""

    @property
    def remote_lease(self) -> str:
        """The lock file that its probe holds where the device is, '' for none."""

    @property
    def tries(self) -> int:
        """How often a measurement is begun that loses its connection."""

    def check(self, runtime: str, protocol: Protocol) -> None:
        """InputError where the protocol asks for what this device has not."""

    def probe(self, runtime: str, protocol: Protocol) -> AbstractContextManager[Conversation]:
        """A probe for one of the runtimes; ends with the block."""

    def models(
        self, talk: Conversation, networks: Sequence[Network], input_size: int, runtime: str, protocol: Protocol
    ) -> AbstractContextManager[Sequence[object]]:
        """The networks as that probe takes them; may be gone after the block."""

    def hints(self, state: State) -> list[str]:
        """What would make its readings better, given the state it reports; one line each."""

    def install(self, packages: Sequence[str]) -> tuple[str, str] | None:
        """The command that installs missing packages, and the device's name after that; None if there is none."""
