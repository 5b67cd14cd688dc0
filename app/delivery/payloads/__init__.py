"""Payload formats: how an event is spelled for a receiver.

To add one: a module here with ``render(parcel) -> Rendered``, one line in ``PAYLOADS`` below (and,
if its world signs, one in ``app.delivery.signing``), and its golden files under
``tests/contract/payloads/``. A format reads the parcel and nothing else, neither clock nor
chance: the same parcel always gives the same bytes.
"""

from collections.abc import Callable

from app.delivery.payloads import github, standard
from app.delivery.payloads.spelling import Rendered
from app.domain.delivery import Parcel
from app.domain.errors import PayloadUnrenderable

__all__ = ["PAYLOADS", "Rendered", "render"]

PAYLOADS: dict[str, Callable[[Parcel], Rendered]] = {
    "github": github.render,
    "standard": standard.render,
}


def render(parcel: Parcel) -> Rendered:
    """Spell a delivery's event in its receiver's payload format.

    The bytes are made once: they are what is stored, signed and sent at every attempt. Headers
    hold everything but the signature.

    Raises:
        PayloadUnrenderable: There is no such format, or it cannot spell this event; nothing else
            is ever raised.
    """
    spell = PAYLOADS.get(parcel.payload)
    if spell is None:
        raise PayloadUnrenderable(f"there is no payload format «{parcel.payload}»")
    try:
        return spell(parcel)
    # One event that a format did not foresee must not stop the deliveries behind it.
    except Exception as error:
        raise PayloadUnrenderable(
            f"event {parcel.event.id} cannot be spelled as {parcel.payload}: {error}"
        ) from error
