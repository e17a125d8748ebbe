"""Untrusted bytes to arrays and back: sniffed, bounded before anything is allocated, and never executed.

    signatures.sniff(data) -> MediaType | None; signatures.require_type(data, accepted, pointer=) -> MediaType
    arrays.decode_npy(data, limit_elements=, dimensions=(2,), pointer=) -> ndarray; encode_npy(array) -> bytes;
        require_finite(array, pointer=)
    pictures.decode_picture(data, limit_pixels=, accepted=, pointer=) -> Picture(pixels, maximum, media_type);
        encode_png(pixels) -> bytes
    dicom.read_ct(data, limit_pixels=, pointer=) -> CtSlice(hu, spacing_mm, padding, clamped, dataset, ...)
    dicom_writing.derive_ct(source, hu, series_description=, derivation=) -> bytes;
        new_ct(hu, spacing_mm=, series_description=, derivation=) -> bytes
    windows.parse_window(text, pointer=) -> Window; apply_window(hu, window) -> uint8; render_png(hu, window) -> bytes
    archive.read_archive(data, limits, pointer=) -> list[Entry(name, data)] in natural order;
        Archive(data, limits, pointer=) with names, read(name), read_start(name, count): one file at a time
    sizes.stated_pixels(data) -> int; upright_sides(data) -> (width, height) | None, by the header alone

Every decoder takes the JSON pointer of the field and raises 413, 415 or 422 problems that name the fault.
"""
