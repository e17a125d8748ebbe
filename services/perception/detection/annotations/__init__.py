"""Sets of annotated pictures in the formats that people have them in: COCO, Pascal VOC and YOLO.

    importing.import_pictures(data, pointer=) -> ImportedSet: a ZIP of pictures with annotations in one of the formats
    coco.read_coco(content, source=, pictures=, pointer=) -> AnnotatedSet, with pictures or without
    model.AnnotatedSet, model.AnnotatedPicture: what all of them become

Boxes refer to upright pictures, as every picture is turned by its EXIF orientation when it is decoded. Sizes that
annotations state are compared with those of the upright pictures, so annotations of the stored pixels are refused where
the two differ; a picture that stands on its head, or a square one, does not show it.
"""
