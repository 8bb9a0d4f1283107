"""The workaround for ipykernel 7.4, and that it leaves other kernels alone."""

from __future__ import annotations

import inspect

import ipykernel.comm.comm as kernel_comm
import pytest

from tml_widgets.subshells import handle_on_subshell


class RoutingComm:
    """As in ipykernel 7.4: the last publisher's shell wins."""

    def _reply_subshell_for(self, data: object, default: str) -> str:
        return "main"


def test_messages_go_where_the_front_end_asked() -> None:
    comm = RoutingComm()
    assert handle_on_subshell(comm)
    assert comm._reply_subshell_for({}, "subshell 1") == "subshell 1"


@pytest.mark.parametrize("comm", [None, object()])
def test_other_kernels_are_left_alone(comm: object) -> None:
    assert not handle_on_subshell(comm)


def test_the_private_method_still_looks_as_expected() -> None:
    method = getattr(kernel_comm.BaseComm, "_reply_subshell_for", None)
    if method is None:
        assert "reply_subshell" not in inspect.getsource(kernel_comm), "ipykernel routes replies in a new way"
    else:
        assert list(inspect.signature(method).parameters) == ["self", "data", "default"]
