"""Payload formats: how an event is spelled for a receiver.

To add one: a module here with ``render(parcel) -> Rendered``, one line in ``PAYLOADS`` below (and,
if its world signs, one in ``app.delivery.signing``), and its golden files under
``tests/contract/payloads/``. A format reads the parcel and nothing else, neither clock nor
chance: the same parcel always gives the same bytes. What the forge told of a change is read
through ``told``, which also says what stands in where it told nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from app.delivery.payloads import cloudevents, github, gitlab, standard
from app.delivery.payloads.spelling import Rendered
from app.domain.delivery import Parcel
from app.domain.errors import PayloadUnrenderable
from app.settings.types import Receiver

__all__ = ["PAYLOADS", "TEMPLATE", "Payloads", "Rendered", "spell"]

Spelling: TypeAlias = Callable[[Parcel], Rendered]

PAYLOADS: dict[str, Spelling] = {
    "github": github.render,
    "gitlab": gitlab.render,
    "cloudevents": cloudevents.render_structured,
    "cloudevents-binary": cloudevents.render_binary,
    "standard": standard.render,
}

# The one format that is another for each receiver.
TEMPLATE = "template"


class Payloads:
    """Spells the deliveries of all receivers; safe for many threads.

    Args:
        receivers: By name; their templates are compiled, and tried on made-up events.

    Raises:
        ConfigurationInvalid: A template does not do; says of each where and why.
    """

    def __init__(self, receivers: Mapping[str, Receiver]) -> None:
        self._templates: dict[str, Spelling] = {}
        if any(receiver.template is not None for receiver in receivers.values()):
            # Jinja takes 30 ms to import, and few need it.
            from app.delivery.payloads.template import compile_all

            made = compile_all(receivers)
            self._templates = {name: template.render for name, template in made.items()}

    def render(self, parcel: Parcel) -> Rendered:
        """Spell a delivery's event in its receiver's payload format.

        The bytes are made once: they are what is stored, signed and sent at every attempt. Headers
        hold everything but the signature.

        Raises:
            PayloadUnrenderable: There is no such format, or it cannot spell this event; nothing
                else is ever raised.
        """
        if parcel.payload != TEMPLATE:
            return spell(parcel)
        made = self._templates.get(parcel.receiver)
        if made is None:
            raise PayloadUnrenderable(f"the receiver «{parcel.receiver}» has no template any more")
        return _spelled(made, parcel)


def spell(parcel: Parcel) -> Rendered:
    """Spell an event in a format that is the same for all receivers.

    Raises:
        PayloadUnrenderable: As ``Payloads.render`` does.
    """
    format_ = PAYLOADS.get(parcel.payload)
    if format_ is None:
        raise PayloadUnrenderable(f"there is no payload format «{parcel.payload}»")
    return _spelled(format_, parcel)


def _spelled(spelling: Spelling, parcel: Parcel) -> Rendered:
    """Spell with what the forge told; where that cannot be spelled, without it."""
    try:
        return spelling(parcel)
    # One event that a format did not foresee must not stop the deliveries behind it.
    except Exception as error:
        if parcel.details is not None:
            return _spelled(spelling, replace(parcel, details=None))
        raise PayloadUnrenderable(
            f"event {parcel.event.id} cannot be spelled as {parcel.payload}: {error}"
        ) from error
