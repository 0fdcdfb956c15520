"""Quirks of real files, a folder each: read as the one thing that it means, or named in a line."""

import os
from pathlib import Path

import pytest

from alpl.boxes.objects import DetectionSplits
from alpl.data.coco import COCOFolder
from alpl.data.voc import VOCFolder
from alpl.errors import DataError

CASES = "ALPL_CASES_ROOT"
pytestmark = pytest.mark.skipif(CASES not in os.environ, reason=f"{CASES} names no folder with the unpacked cases")

READ = {  # images and objects of the training split, of the test split, classes
    "coco/bbox_strings": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/cat_from_zero": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/cat_noncontiguous": (12, 141, 4, 58, "RBC, Platelets, WBC"),
    "coco/category_ids_strings": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/duplicate_annotations": (12, 146, 4, 58, "RBC, WBC, Platelets"),
    "coco/duplicate_content": (13, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/image_ids_strings": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/images_without_annotations": (12, 100, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_cmyk": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_exif6_rotated_annot_as_viewed": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_gif": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_gray": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_one_bit": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_one_pixel": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_palette": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_palette_transp": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_png16": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_png16rgb": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_png_named_jpg": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_rgba": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_tiff32f": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/img_webp": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/iscrowd_rle": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/no_area_no_iscrowd": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/no_width_height": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/roboflow_cat0_unused": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/segmentation_only": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/subfolders": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/train_image_in_test_same_content": (12, 141, 5, 58, "RBC, WBC, Platelets"),
    "coco/unicode_names": (12, 141, 4, 58, "红细胞, Größe <b>&\"', a/b c"),
    "coco/utf8_bom": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "coco/windows_backslash": (12, 141, 4, 58, "RBC, WBC, Platelets"),
    "voc/bndbox_order_xmax_first": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/class_with_space": (7, 133, 3, 53, "Platelets, WBC, red blood cell"),
    "voc/difficult_true": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/difficult_unspecified": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/ext_upper": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/filename_no_ext": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/filename_other": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/float_coords": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/folder_path_tags": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/list_bom": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/list_crlf_blank": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/list_with_extension": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/list_with_paths": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/mixed_png_jpg": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/name_padded": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/names_with_spaces": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/namespace_comment": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/no_difficult": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/no_filename": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/no_objects": (7, 111, 3, 53, "Platelets, RBC, WBC"),
    "voc/no_size": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/parts_nested": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/plain": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/polygon_instead_of_bndbox": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/size_empty_tags": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/size_float": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/size_zero": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/wrong_filename_ext": (7, 133, 3, 53, "Platelets, RBC, WBC"),
    "voc/xml_decl_utf16": (7, 133, 3, 53, "Platelets, RBC, WBC"),
}
NAMED = {
    "coco/annotation_of_missing_image": r"image_id=424242, category_id=1",
    "coco/annotation_unknown_category": r"the 'category 77' box .* is of an unknown class",
    "coco/bbox_empty_list": r"173 times, in .*: the 'RBC' annotation must have a bbox of four numbers, got \[\]",
    "coco/bbox_five_numbers": r"must have a bbox of four numbers, got \[39.75, 75.0, 24.75, 24.75, 0.3\]",
    "coco/bbox_nan": r"must have a bbox of four numbers, got \[nan, ",
    "coco/bbox_negative": r"the 'RBC' box .* has no area",
    "coco/bbox_over_border": r"the 'RBC' box \(150, 100, 180, 140\) lies outside the image",
    "coco/bbox_zero_width": r"the 'RBC' box .* has no area",
    "coco/class_names_case_differs": r"51 boxes are of the unknown class 'rbc'",
    "coco/duplicate_category_name": r"the categories must have different names",
    "coco/duplicate_image_entry": r"listed twice in train, as images 0 and 12",
    "coco/duplicate_image_id": r"13 problems",
    "coco/file_name_with_split_prefix": r"12 times, in .*/train/train/BloodImage_00193.jpg.*: there is no such image",
    "coco/img_exif6_rotated_annot_raw": r"EXIF turns it, and the boxes are of the image before the turn",
    "coco/img_extension_case": r"there is no such image",
    "coco/img_missing": r"there is no such image",
    "coco/img_text_named_jpg": r"is not an image",
    "coco/img_truncated": r"cannot be decoded: image file is truncated",
    "coco/img_zero_byte": r"is not an image",
    "coco/no_annotations_key": r"must hold a list 'annotations'",
    "coco/no_categories": r"must hold a list 'categories'",
    "coco/no_test_folder": r"test: there is no such folder of images",
    "coco/test_class_unknown_to_train": r"the 'Parasite' box .* is of an unknown class",
    "coco/width_height_swapped": r"has 160 x 120 pixels, but 120 x 160 in ",
    "voc/broken_xml": r"is not valid XML: unclosed token",
    "voc/entity_bomb": r"declares a document type, which is refused",
    "voc/jpg_and_png_of_one_name": r"several images have this name",
    "voc/latin1": r"is not valid XML: not well-formed",
    "voc/list_with_flags": r"lists of one class .* are no lists of images",
    "voc/no_imagesets_labelimg": r"the list of images cannot be read",
    "voc/robndbox": r"the 'RBC' object has no valid xmin=''",
    "voc/roboflow_flat": r"JPEGImages: there is no such folder",
    "voc/swapped_minmax": r"the 'RBC' box \(386, 115, 273, 222\) has no area",
    "voc/unlabeled_no_xml": r"there is no such annotation",
}


def load(case: str) -> DetectionSplits:
    source = {"coco": COCOFolder, "voc": VOCFolder}[case.split("/")[0]]
    return source(str(Path(os.environ[CASES], case)), verify_images=True).load()


def test_every_folder_has_its_line() -> None:
    folders = {f"{kind}/{path.name}" for kind in ("coco", "voc") for path in Path(os.environ[CASES], kind).iterdir()}
    assert folders == READ.keys() | NAMED.keys()


@pytest.mark.parametrize("case", READ)
def test_what_has_one_meaning_is_read(case: str) -> None:
    splits = load(case)
    found = [len(splits.train.names), sum(map(len, splits.train_objects))]
    found += [len(splits.test.names), sum(map(len, splits.test_objects))]
    assert (*found, ", ".join(splits.classes)) == READ[case]
    for images in (splits.train, splits.test):  # what was checked is what is decoded
        assert all(list(images[i].shape[1:]) == images.sizes[i].tolist() for i in range(len(images.names)))


@pytest.mark.parametrize("case", NAMED)
def test_what_has_none_is_named(case: str) -> None:
    with pytest.raises(DataError, match=NAMED[case]) as error:
        load(case)
    assert "\n" not in str(error.value)
