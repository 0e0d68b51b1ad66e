"""How vCPUs are divided into sockets: wishes and limits of flavors and images, as Nova has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Self

from vmops.errors import InstanceUnacceptable, Invalid
from vmops.numbers import INT_MAX, whole_number


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTopology:
    """Wished and greatest numbers of sockets, and of cores in each; 0 is none."""

    WORDS: ClassVar[tuple[str, ...]] = ("sockets", "cores", "max_sockets", "max_cores")

    sockets: int = 0
    cores: int = 0
    max_sockets: int = 0
    max_cores: int = 0

    @classmethod
    def from_properties(cls, texts: Mapping[str, str], prefix: str, wrong: type[Invalid]) -> Self:
        """Read ``hw:cpu_cores``, ``hw:cpu_max_sockets`` and the like; ``prefix`` is "hw:cpu_".

        Raises:
            Invalid: of the class ``wrong``: a value is no number of something, or threads are
                asked for.
        """
        if _number(texts, f"{prefix}threads", wrong) > 1:
            raise wrong(f"vSphere has no threads: {prefix}threads must be 1.")
        return cls(**{word: _number(texts, f"{prefix}{word}", wrong) for word in cls.WORDS})

    def to_words(self) -> dict[str, str]:
        """What `from_properties` reads the same from, without the prefix."""
        return {word: str(number) for word, number in asdict(self).items() if number}

    @property
    def has_wish(self) -> bool:
        """Whether it asks for a number of sockets or cores."""
        return bool(self.sockets or self.cores)


def cores_per_socket(vcpus: int, flavor: CpuTopology, image: CpuTopology) -> int:
    """How many cores a socket has; 0 if nothing is said about it.

    An image's limits may only be narrower than the flavor's. Its wish counts before the flavor's,
    which is dropped where it is beyond the image's limits. Without a wish, limits are met with as
    many sockets as they allow.

    Raises:
        InstanceUnacceptable: the numbers do not make ``vcpus``, or are beyond a limit.
    """
    most_sockets = _limit("sockets", flavor.max_sockets, image.max_sockets)
    most_cores = _limit("cores", flavor.max_cores, image.max_cores)
    cores = _wished(vcpus, image if image.has_wish else flavor)
    if not (cores or most_sockets or most_cores):
        return 0
    if cores and not (_beyond(cores, most_cores) or _beyond(vcpus // cores, most_sockets)):
        return cores
    if cores and (image.has_wish or not (image.max_sockets or image.max_cores)):
        raise InstanceUnacceptable(
            f"{vcpus // cores} sockets of {cores} cores are more than is allowed:"
            f" at most {most_sockets or 'any'} sockets, {most_cores or 'any'} cores."
        )
    return _fewest(vcpus, most_sockets, most_cores)


def _limit(what: str, flavor: int, image: int) -> int:
    if flavor and image > flavor:
        raise InstanceUnacceptable(
            f"The image allows {image} {what}, which is more than the flavor's {flavor}."
        )
    return image or flavor


def _wished(vcpus: int, wish: CpuTopology) -> int:
    if wish.sockets and vcpus % wish.sockets:
        raise InstanceUnacceptable(f"{vcpus} vCPUs cannot be divided into {wish.sockets} sockets.")
    if wish.cores and vcpus % wish.cores:
        raise InstanceUnacceptable(
            f"{vcpus} vCPUs cannot be divided into sockets of {wish.cores} cores."
        )
    if wish.sockets and wish.cores and wish.sockets * wish.cores != vcpus:
        raise InstanceUnacceptable(
            f"{wish.sockets} sockets of {wish.cores} cores are not {vcpus} vCPUs."
        )
    return wish.cores or (vcpus // wish.sockets if wish.sockets else 0)


def _fewest(vcpus: int, most_sockets: int, most_cores: int) -> int:
    for cores in range(1, vcpus + 1):
        sockets, rest = divmod(vcpus, cores)
        if not (rest or _beyond(sockets, most_sockets) or _beyond(cores, most_cores)):
            return cores
    raise InstanceUnacceptable(
        f"{vcpus} vCPUs cannot be divided into at most {most_sockets or 'any'} sockets of at most"
        f" {most_cores or 'any'} cores."
    )


def _beyond(number: int, most: int) -> bool:
    return bool(most) and number > most


def _number(texts: Mapping[str, str], key: str, wrong: type[Invalid]) -> int:
    text = str(texts.get(key, "0")).strip()
    number = whole_number(text, INT_MAX)
    if number is None:
        raise wrong(f"{key} {text[:40]!r} is not a whole number up to {INT_MAX}.")
    return number
