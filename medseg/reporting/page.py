"""What the HTML pages share: templates, and pictures inside the page."""

import base64
import io
from typing import Any

import jinja2
from PIL import Image

import medseg

__all__ = ["picture_source", "rendered"]


def rendered(template: str, **content: Any) -> str:
    """Fill a template of this folder."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("medseg.reporting", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(version=medseg.__version__, **content)


def picture_source(picture: Image.Image, *, width: int) -> str:
    """The picture as a ``data:`` address, JPEG of at most `width` pixels."""
    small = picture.convert("RGB")
    if small.width > width:
        small = small.resize((width, round(small.height * width / small.width)), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
