"""The image of a case, read and prepared: whole, or in slabs where volumes are spread."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from medseg.data.manifest import Case
from medseg.data.preprocess import Prepared, prepare_image
from medseg.data.slab_channels import open_images
from medseg.data.slabs import prepare_slabs
from medseg.data.stacking import read_channels
from medseg.errors import ImageError, MedsegError
from medseg.imaging.slabs import SlabReader, WholeSlabs
from medseg.inference.model import Model
from medseg.parallel.signs import busy
from medseg.volume import Note

__all__ = ["CaseImage", "open_case", "read_ahead"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CaseImage:
    """One case's image.

    Parameters
    ----------
    source : SlabReader
        As it was read.
    prepared : Prepared or None
        What the network is given; mapped from a file where volumes are spread. None where the image is not one that
        the model is for.
    outside : str
        Why it is not, else empty.
    """

    source: SlabReader
    prepared: Prepared | None
    outside: str = ""

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the user should know of the reading."""
        return self.source.notes


@contextmanager
def open_case(
    images: Sequence[str | None], case_id: str, model: Model, *, case: Case | None = None, scratch: Path | None = None
) -> Iterator[CaseImage]:
    """Read the images of a case, and prepare them if the model is for such; what is open or on disk goes at the end.

    Where volumes are spread, no more than slabs are held, but for formats that cannot be read so and channels that must
    be registered or resampled to the first, which is logged.

    Parameters
    ----------
    images : sequence of str or None
        As of `read_channels`.
    case : Case, optional
        Row of the manifest, which may say what the files do not.
    scratch : Path, optional
        Where a temporary folder is made.

    Raises
    ------
    MedsegError
        When they cannot be read, or do not fit the pipeline.
    """
    settings, spacing = model.pipeline.input, model.plan.spacing_mm
    if not model.team.spreads:
        volume = read_channels(images, case_id, settings)
        outside = model.out_of_scope(volume, case)
        ready = None if outside else prepare_image(volume, settings, spacing=spacing)
        yield CaseImage(WholeSlabs(volume), ready, outside)
        return
    with (
        open_images(images, case_id, settings) as opened,
        tempfile.TemporaryDirectory(prefix="medseg-image-", dir=scratch) as folder,
    ):
        if opened.first is not None and (outside := model.out_of_scope(opened.first, case)):
            yield CaseImage(opened.first, None, outside)
            return
        path, channels = Path(folder) / "image.npy", opened.channels()
        if channels is None or (opened.read_whole and channels.grid.shape[0] > 1):
            reason = "its channels do not lie on one grid" if channels is None else "its format cannot be read in slabs"
            logger.info("case %s: all of it is read into the memory of one process, as %s", case_id, reason)
        if channels is not None:
            prepared = prepare_slabs(channels, settings, spacing=spacing, path=path, missing=channels.missing)
            yield CaseImage(channels, prepared)
            return
        volume = opened.stacked()
        whole = prepare_image(volume, settings, spacing=spacing)
        np.save(path, whole.image)
        yield CaseImage(WholeSlabs(volume), replace(whole, image=np.load(path, mmap_mode="r", allow_pickle=False)))


class _Item(Protocol):
    """What is known of a case before it is read."""

    @property
    def case_id(self) -> str: ...
    @property
    def images(self) -> tuple[str | None, ...]: ...
    @property
    def refused(self) -> str: ...
    @property
    def case(self) -> Case | None: ...


Item = TypeVar("Item", bound=_Item)


def read_ahead(
    items: Sequence[Item], model: Model, *, scratch: Path | None = None
) -> Iterator[tuple[Item, CaseImage | None, str]]:
    """Read and prepare the next image on a thread while the network runs over this one.

    Yields
    ------
    item
        One of `items`.
    image : CaseImage or None
        Open until the next is asked for.
    reason : str
        Why there is none.
    """

    def load(item: Item) -> tuple[CaseImage | None, str, ExitStack]:
        with ExitStack() as held:
            try:
                if item.refused:
                    raise ImageError(item.refused)
                image = held.enter_context(open_case(item.images, item.case_id, model, case=item.case, scratch=scratch))
            except MedsegError as error:
                return None, str(error), ExitStack()
            except FileNotFoundError as error:
                return None, f"file is missing: {error.filename}", ExitStack()
            except Exception as error:  # a batch goes on past whatever one case does to a reader
                logger.debug("case %s", item.case_id, exc_info=True)
                return None, f"cannot be read ({type(error).__name__}: {error})", ExitStack()
            return image, "", held.pop_all()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(load, items[0]) if items else None
        try:
            for number, item in enumerate(items):
                assert future is not None
                with busy():  # other processes wait
                    image, reason, held = future.result()
                future = pool.submit(load, items[number + 1]) if number + 1 < len(items) else None
                with held:
                    yield item, image, reason
        finally:
            if future is not None:  # the batch ends early
                future.result()[2].close()
