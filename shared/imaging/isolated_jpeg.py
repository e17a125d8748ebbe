"""Decodes one JPEG codestream with gdcm, in a process of its own: damaged ones have been seen to crash it.

`shared.isolation` starts it; what goes wrong there ends this process and no service.
"""

from __future__ import annotations

import sys
import warnings

from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from shared.isolation import read_isolated_request, write_isolated_answer


def main() -> None:
    """Read the layout and the codestream; write the pixels, in the order and type of the layout."""
    request, codestream = read_isolated_request(sys.stdin.buffer)
    warnings.simplefilter("ignore")
    decoder = get_decoder(UID(request["syntax"]))
    pixels, _ = decoder.as_array(
        encapsulate([codestream]), index=0, raw=True, decoding_plugin="gdcm", **request["options"]
    )
    answer = {"dtype": pixels.dtype.str, "shape": list(pixels.shape)}
    write_isolated_answer(sys.stdout.buffer, answer, pixels.tobytes())


if __name__ == "__main__":
    main()
