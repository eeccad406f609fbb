"""Which of a patient's images says how large the lesion is."""

from __future__ import annotations

import pandas as pd


def patient_axes(images: pd.DataFrame) -> pd.DataFrame:
    """What the masks of a patient's images say of the patient: one row a patient of `images`, sorted by patient_id.

    `images` has patient_id, image_id, modality, mm_per_pixel_x, mm_per_pixel_y, long_axis_mm and short_axis_mm (nan
    where not known). Taken is the B-mode image with the largest long axis, else the image of any modality with the
    largest; of equals the first image_id. Patients without an image that has both scale and mask have the scale of
    their first image that has one, and no axes; without any scale nothing.
    Returns patient_id, measured_image_id, mm_per_pixel_x, mm_per_pixel_y, measured_long_axis_mm,
    measured_short_axis_mm.
    """
    scales = ["mm_per_pixel_x", "mm_per_pixel_y"]
    known = images.dropna(subset=scales).assign(other=images["modality"] != "bmode")
    known = known.assign(unmeasured=known["long_axis_mm"].isna())
    order = ["unmeasured", "other", "long_axis_mm", "image_id"]
    best = known.sort_values(order, ascending=[True, True, False, True]).drop_duplicates("patient_id")
    names = {f"{axis}_axis_mm": f"measured_{axis}_axis_mm" for axis in ("long", "short")}
    best = best.rename(columns={"image_id": "measured_image_id"} | names)
    patients = pd.DataFrame({"patient_id": sorted(images["patient_id"].unique())})
    return patients.merge(best[["patient_id", "measured_image_id", *scales, *names.values()]], how="left")
