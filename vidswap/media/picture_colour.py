"""Between a picture's own colours and the view of them in sRGB that the nets are given."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

_Pixels = npt.NDArray[np.uint8]

_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC


@dataclass(frozen=True)
class ColourProfile:
    """An ICC profile of R'G'B' colours other than sRGB, with the transforms to sRGB and back."""

    _to_view: Any
    _from_view: Any

    @classmethod
    def of(cls, icc: bytes | None) -> "ColourProfile | None":
        """None where the pixels are sRGB already, or the profile is none that can be used."""
        if not icc:
            return None
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            is_rgb = own.profile.xcolor_space.strip() == "RGB"
            if not is_rgb or "srgb" in ImageCms.getProfileDescription(own).lower():
                return None
            srgb = ImageCms.createProfile("sRGB")
            return cls(
                ImageCms.buildTransform(own, srgb, "RGB", "RGB", _INTENT, _FLAGS),
                ImageCms.buildTransform(srgb, own, "RGB", "RGB", _INTENT, _FLAGS),
            )
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            return None

    def view(self, rgb: _Pixels) -> _Pixels:
        """Pixels (H, W, 3) of the picture in sRGB."""
        return _applied(rgb, self._to_view)

    def own(self, view: _Pixels) -> _Pixels:
        """Pixels (H, W, 3) in sRGB in the picture's own colours."""
        return _applied(view, self._from_view)


def _applied(rgb: _Pixels, transform: Any) -> _Pixels:
    image = ImageCms.applyTransform(Image.fromarray(np.ascontiguousarray(rgb)), transform)
    assert image is not None
    return np.asarray(image, dtype=np.uint8)
