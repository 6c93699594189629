"""The interface of a measurement device."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol as Interface

from search.latency.conversation import Conversation
from search.latency.onnx_files import Network
from search.latency.protocol import Protocol
from search.latency.reading import State


class Device(Interface):
    """A device for measuring networks."""

    @property
    def name(self) -> str:
        """The name of the device as the user writes it."""

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes that the device supports; the default is first."""

    @property
    def lease(self) -> str:
        """The name of the lease that is held by a measurement on the device."""

    @property
    def remote_lease(self) -> str:
        """The lock file that the probe holds on the remote host, or '' if there is none."""

    @property
    def tries(self) -> int:
        """The maximum number of tries if the connection is lost during a measurement."""

    def check(self, runtime: str, protocol: Protocol) -> None:
        """Raise InputError if the device does not support the protocol with this runtime."""

    def probe(self, runtime: str, protocol: Protocol) -> AbstractContextManager[Conversation]:
        """Start a probe for one of the runtimes; it ends with the block."""

    def models(
        self, talk: Conversation, networks: Sequence[Network], input_size: int, runtime: str, protocol: Protocol
    ) -> AbstractContextManager[Sequence[object]]:
        """Convert the networks to the form that the probe loads; files may be deleted after the block."""

    def hints(self, state: State) -> list[str]:
        """Return hints for more reliable readings, based on the reported state, one line each."""

    def install(self, packages: Sequence[str]) -> tuple[str, str] | None:
        """Return the command that installs missing packages and the device's new name, or None if not needed."""
