"""The interface of a measurement device."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol as Interface

from search.latency.conversation import Conversation
from search.latency.onnx_files import Network
from search.latency.protocol import Protocol
from search.latency.reading import State


class Device(Interface):
    """A device on which networks are measured."""

    @property
    def name(self) -> str:
        """The device's name as the user writes it."""

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes that the device supports, the default first."""

    @property
    def lease(self) -> str:
        """The name of the lease that a measurement on the device holds."""

    @property
    def remote_lease(self) -> str:
        """The lock file that the probe holds on the remote host; '' for none."""

    @property
    def tries(self) -> int:
        """The maximal number of tries of a measurement whose connection is lost."""

    def check(self, runtime: str, protocol: Protocol) -> None:
        """Raise InputError if the device does not support the protocol with this runtime."""

    def probe(self, runtime: str, protocol: Protocol) -> AbstractContextManager[Conversation]:
        """Start a probe for one of the runtimes; it ends with the block."""

    def models(
        self, talk: Conversation, networks: Sequence[Network], input_size: int, runtime: str, protocol: Protocol
    ) -> AbstractContextManager[Sequence[object]]:
        """The networks in the form that the probe loads; files may be deleted after the block."""

    def hints(self, state: State) -> list[str]:
        """Hints that would make readings more reliable, given the reported state; one line each."""

    def install(self, packages: Sequence[str]) -> tuple[str, str] | None:
        """The command that installs missing packages, and the device's name after that; None if there is none."""
