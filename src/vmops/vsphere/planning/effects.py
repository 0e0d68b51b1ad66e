"""What each method that the engine calls would change, as far as a plan shows it.

Every method that is called and changes something stands in one of three tables: its effect on what
later reads of the plan give, why it needs none, or why a plan does not tell it. A test compares
them with the calls in the code.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmops.vsphere.planning import (
    file_effects,
    host_effects,
    lease_effects,
    vm_effects,
    volume_effects,
)
from vmops.vsphere.planning.site import Effect

EFFECTS: Mapping[str, Effect] = {
    **file_effects.EFFECTS,
    **host_effects.EFFECTS,
    **lease_effects.EFFECTS,
    **vm_effects.EFFECTS,
    **volume_effects.EFFECTS,
}

WITHOUT_EFFECT: Mapping[str, str] = {
    "AcquireTicket": "It changes nothing, and what it gives the server alone knows: a plan ends.",
    "AnswerVM": "What is only planned asks nothing, so that no plan comes to an answer.",
}

UNTOLD: Mapping[str, str] = {
    "CancelTask": "No step of an operation sends it, and a planned task has ended.",
    "HttpNfcLeaseProgress": "A sign of life while bytes are sent, and a plan sends none.",
}
