"""The metrics of a report: what each is, where it comes from, and how frames become a number.

Every metric of the papers is here; one whose net cannot be had says so in `absent`, and has no
value. docs/metrics.md is the same as a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidswap.metrics import faults, flow, geometry, identity, image, jitter, perceptual, summaries
from vidswap.metrics.fid import frechet_of_moments
from vidswap.metrics.measure import Measure
from vidswap.metrics.verification import verification

Summary = Callable[[NDArray[np.float64]], NDArray[np.float64]]
NetKind = Literal["", "identity", "features", "fid", "vgg", "mesh", "pose", "flow"]

AP_GAN, SWAP_INPAINT, CASCADED = "AP-GAN", "SwapInpaint", "cascaded GAN"
WANG = "Wang et al. 2004, eq. 13"
PAIRS_FILE = "of a file of pairs and their pictures, not of a clip: `vidswap pairs`"
FID_NET = "dlib ResNet, pooled 256-d (took part in training)"
FLOW_NET = "OpenCV DIS, medium preset"


@dataclass(frozen=True)
class Metric(Measure):
    """A measure of one clip, with how it is computed from frames.

    function: what measures a frame, or the clip where there are no `columns`. columns: the curves
    over frames that it is made of, by `summary`, which takes (..., T, K) to (...). net: the kind of
    net that measures it. perfect: the value of a clip against itself. least: frames without which
    it has no value. absent: why it cannot be computed here.
    """

    function: Callable[..., Any] | None = None
    columns: tuple[str, ...] = ()
    summary: Summary = summaries.mean_of
    net: NetKind = ""
    perfect: float | None = None
    least: int = 1
    absent: str = ""

    @property
    def best(self) -> float:
        """The perfect value; where a clip against itself says nothing, 0 or 1 by direction."""
        if self.perfect is not None:
            return self.perfect
        return 0.0 if self.better == "lower" else 1.0


IDENTITY = (
    Metric(
        "identity_retrieval", "Frames recognised as the source", "share", "higher",
        f"{AP_GAN} IV.C (id); {SWAP_INPAINT} IV.B",
        "share of frames whose nearest face, by cosine, is one of the source's pictures and not "
        "the target's own frame or another person of the gallery",
        identity.retrieved, ("identity_retrieval",), net="identity", limit=0.9,
    ),
    Metric(
        "cosine_to_source", "Likeness to the source", "cosine", "higher", f"{SWAP_INPAINT} IV.B",
        "mean of a.b / (|a| |b|), a of the swapped frame, b the mean of the source's pictures",
        identity.cosine, ("cosine_to_source",), net="identity",
    ),
    Metric(
        "cosine_to_target", "Likeness left to the target", "cosine", "lower", f"{SWAP_INPAINT} "
        "IV.B",
        "the same with b of the target's very frame", identity.cosine, ("cosine_to_target",),
        net="identity", perfect=1.0,
    ),
    Metric(
        "identity_discrepancy", "Identity discrepancy", "1 - cosine", "lower",
        f"{AP_GAN} Table VII, after InterFaceGAN", "1 - cosine to the source",
        identity.identity_discrepancy, ("identity_discrepancy",), net="identity",
    ),
    Metric(
        "match_score", "Mean match score", "correlation", "higher",
        f"{CASCADED} eq. 7; {AP_GAN} Table VI",
        "mean of Cov(a, b) / (sigma_a sigma_b) with the source's mean features",
        identity.match_score, ("match_score",), net="identity",
    ),
)  # fmt: skip
ATTRIBUTES = (
    Metric(
        "dipd", "Attributes kept (DIPD)", "distance", "lower", f"{AP_GAN} IV.C",
        "|IN(a) - IN(b)| / sqrt(CHW) of instance-normalised features of target and swap",
        perceptual.dipd, ("dipd",), net="features", perfect=0.0,
    ),
    Metric(
        "dipd_vgg", "Attributes kept (DIPD, VGG conv5)", "distance", "lower", f"{AP_GAN} IV.C",
        "the same with VGG-16's conv5", perceptual.dipd, ("dipd_vgg",), net="vgg", perfect=0.0,
        absent="VGG-16's weights are in no package installed here; give torchvision's "
        "vgg16-397923af.pth",
    ),
    Metric(
        "pose_distance", "Pose", "degrees", "lower", f"{AP_GAN} IV.C; {SWAP_INPAINT} IV.B",
        "mean of sqrt(dyaw^2 + dpitch^2 + droll^2)",
        geometry.pose_distance, ("pose_distance",), net="mesh", perfect=0.0, limit=5.0,
    ),
    Metric(
        "pose_distance_net", "Pose (HopeNet)", "degrees", "lower",
        f"{AP_GAN} IV.C; {SWAP_INPAINT} IV.B", "the same with another net's angles",
        geometry.pose_distance, ("pose_distance_net",), net="pose", perfect=0.0,
        absent="HopeNet's weights are in no package installed here; give a pose net as ONNX",
    ),
    Metric(
        "expression_distance", "Expression", "% of eye distance", "lower",
        f"{AP_GAN} IV.C; {SWAP_INPAINT} IV.B (there a 3D model's coefficients, or landmarks)",
        "100 mean_i |S(swap_i) - target_i| / d of lips, lids and brows, S the similarity on "
        "points that do not move",
        geometry.expression_percent, ("expression_distance",), net="mesh", perfect=0.0, limit=8.0,
    ),
    Metric(
        "gaze_distance", "Gaze", "% of eye width", "lower", "defined here",
        "100 |g(target) - g(swap)|, g the irises' offset in eye widths",
        geometry.gaze_distance, ("gaze_distance",), net="mesh", perfect=0.0, limit=10.0,
    ),
    Metric(
        "eye_correlation", "Blinks follow the target", "correlation", "higher", "defined here",
        "Pearson's r over time of the lids' opening", geometry.pearson, ("eye_opening_target",
        "eye_opening"),
        summaries.followed, "mesh", perfect=1.0, limit=0.8, least=3,
    ),
    Metric(
        "mouth_correlation", "Speech follows the target", "correlation", "higher", "defined here",
        "Pearson's r over time of the mouth's opening", geometry.pearson,
        ("mouth_opening_target", "mouth_opening"),
        summaries.followed, "mesh", perfect=1.0, limit=0.9, least=3,
    ),
    Metric(
        "gaze_correlation", "Gaze follows the target", "correlation", "higher", "defined here",
        "Pearson's r over time of the irises' offset to the right", geometry.pearson,
        ("gaze_right_target", "gaze_right"), summaries.followed, "mesh", perfect=1.0, limit=0.7,
        least=3,
    ),
)  # fmt: skip
LIKENESS = (
    Metric(
        "ssim", "Structural similarity, crop", "SSIM", "higher", f"{AP_GAN} IV.C; {WANG}",
        "mean SSIM, Gaussian window 11, deviation 1.5, K1 0.01, K2 0.03",
        image.ssim, ("ssim",), perfect=1.0,
    ),
    Metric(
        "ssim_face", "Structural similarity, face", "SSIM", "higher", f"{AP_GAN} IV.C; {WANG}",
        "the same over the face", image.mean_similarity, ("ssim_face",), perfect=1.0,
    ),
    Metric(
        "ssim_outside", "Surroundings kept", "SSIM", "higher", f"defined here; {WANG}",
        "the same outside the face", image.mean_similarity, ("ssim_outside",),
        perfect=1.0, limit=0.9,
    ),
    Metric(
        "psnr", "Signal to noise, crop", "dB", "higher", f"{SWAP_INPAINT} IV.B",
        "mean of 10 log10(255^2 / MSE), at most 100", image.psnr, ("psnr",), perfect=100.0,
    ),
    Metric(
        "psnr_face", "Signal to noise, face", "dB", "higher", f"{SWAP_INPAINT} IV.B",
        "the same over the face", image.psnr, ("psnr_face",), perfect=100.0,
    ),
    Metric(
        "mse", "Squared error, crop", "squared grey levels", "lower", f"{SWAP_INPAINT} IV.B",
        "mean (Y - F)^2", image.mse, ("mse",), perfect=0.0,
    ),
    Metric(
        "mse_face", "Squared error, face", "squared grey levels", "lower", f"{SWAP_INPAINT} IV.B",
        "the same over the face", image.mse, ("mse_face",), perfect=0.0,
    ),
)  # fmt: skip
TEMPORAL = (
    Metric(
        "endpoint_error", "Motion (AEE)", "pixels", "lower", f"{AP_GAN} IV.C (AEE)",
        "mean |f - f'| of the target's and the swap's own flow",
        flow.endpoint_error, ("endpoint_error",), net="flow", perfect=0.0, least=2,
    ),
    Metric(
        "flow_warp", "Flow-warp error (FWE)", "of the pixel range", "lower", f"{AP_GAN} eq. 15",
        "mean of E_warp(Y_t, Y_1) + E_warp(Y_t, Y_(t-1))", flow.warp_error,
        ("flow_warp_short", "flow_warp_long"), summaries.sum_of_means, "flow", least=2,
    ),
    Metric(
        "flow_warp_short", "Flow-warp error, short term", "of the pixel range", "lower",
        f"{AP_GAN} eq. 14", "mean of E_warp(Y_t, Y_(t-1))", flow.warp_error, ("flow_warp_short",),
        net="flow", least=2,
    ),
    Metric(
        "flow_warp_long", "Flow-warp error, long term", "of the pixel range", "lower",
        f"{AP_GAN} eq. 14", "mean of E_warp(Y_t, Y_1)", flow.warp_error, ("flow_warp_long",),
        net="flow", least=2,
    ),
    Metric(
        "flow_warp_target", "Flow-warp error of the target", "of the pixel range", "neither",
        f"{AP_GAN} eq. 15", "eq. 15 of the target, to compare with", flow.warp_error,
        ("flow_warp_short_target", "flow_warp_long_target"), summaries.sum_of_means, "flow",
        least=2,
    ),
    Metric(
        "flow_warp_ratio", "Unsteadiness, swap over target", "ratio", "lower",
        f"defined here, of {AP_GAN} eq. 15", "eq. 15 of the swap over eq. 15 of the target",
        flow.warp_error, ("flow_warp_short", "flow_warp_long", "flow_warp_short_target",
        "flow_warp_long_target"),
        summaries.ratio_of_sums, "flow", perfect=1.0, limit=1.15, least=2,
    ),
    Metric(
        "landmark_jitter", "Shaking", "% of eye distance", "lower", "defined here",
        "root mean square over frames of 100 / d sqrt(mean |e_(t+1) - 2 e_t + e_(t-1)|^2 / 12), "
        "e = swap's landmarks minus the target's",
        jitter.landmark_jitter, ("landmark_jitter",), summaries.root_mean_square, "mesh",
        perfect=0.0,
        limit=1.0, least=3,
    ),
    Metric(
        "flicker", "Swap goes on and off", "per second", "lower", "defined here",
        "changes between swapped and not, over the clip's seconds", faults.flicker,
        perfect=0.0, limit=0.0, least=2,
    ),
    Metric(
        "unswapped_frames", "Frames left unswapped", "share", "lower", "defined here",
        "share of frames whose face is changed by less than a quarter of what is usual in the clip",
        faults.swapped_frames, ("unswapped_frames",), perfect=0.0, limit=0.01,
    ),
    Metric(
        "face_lost", "Face not found after the swap", "share", "lower", "defined here",
        "share of frames with a face in the target and none at its place in the swap",
        geometry.meshes_in_one_region, ("face_lost",), net="mesh", perfect=0.0, limit=0.01,
    ),
    Metric(
        "missing_frames", "Frames missing", "share", "lower", "defined here",
        "share of the target's frames, while both clips run, without a swapped frame at their time",
        perfect=0.0, limit=0.01,
    ),
)  # fmt: skip
REALISM = (
    Metric(
        "seam", "Edge of the pasted face", "grey levels", "lower", "defined here",
        "mean of max_o j(o) - median_o j(o), j(o) the jump of Y - F across a line o pixels from "
        "the outline",
        faults.seam, ("seam",), perfect=0.0, limit=6.0,
    ),
    Metric(
        "colour_shift", "Colour against the surroundings", "Delta E", "lower", "defined here",
        "mean |(Y_face - Y_ring) - (F_face - F_ring)| of mean CIELAB colours",
        faults.colour_shift, ("colour_shift",), perfect=0.0, limit=6.0,
    ),
    Metric(
        "sharpness_ratio", "Sharpness of the face", "ratio", "higher", "defined here",
        "mean sqrt(|grad Y|^2 / |grad F|^2) over the face",
        faults.sharpness_ratio, ("sharpness_ratio",), perfect=1.0, limit=0.7,
    ),
    Metric(
        "fid_dlib", "FID, dlib's features", "squared feature units", "lower",
        f"{SWAP_INPAINT} IV.B; {CASCADED}; {AP_GAN} Table VI; Heusel et al. 2017, eq. 6",
        "|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of the clips' frames",
        frechet_of_moments, net="fid", perfect=0.0, least=2,
    ),
    Metric(
        "fid", "FID, Inception", "squared feature units", "lower",
        f"{SWAP_INPAINT} IV.B; {CASCADED}; {AP_GAN} Table VI; Heusel et al. 2017, eq. 6",
        "the same in Inception-v3's 2048 features", perfect=0.0,
        absent="Inception-v3's weights are in no package installed here; FID in dlib's features "
        "stands as another metric, and the two must not be compared",
    ),
    Metric(
        "lpips", "Perceptual error (LPIPS)", "distance", "lower", "Zhang et al. 2018", "",
        perfect=0.0,
        absent="its AlexNet and VGG weights are in no package installed here (lpips carries its "
        "linear heads alone)",
    ),
    Metric(
        "pieapp", "Perceptual error (PieAPP)", "error", "lower", f"{CASCADED}; Prashnani et al. "
        "2018",
        "", perfect=0.0, absent="PieAPP's weights are in no package",
    ),
)  # fmt: skip
VERIFICATION = (
    Metric(
        "verification_accuracy", "Verification accuracy", "share", "higher", "ID-GAN, Table III",
        "mean accuracy over ten folds, the threshold from the other nine", verification,
        net="identity", absent=PAIRS_FILE,
    ),
    Metric(
        "verification_tpr", "TPR at FPR 0.01", "share", "higher", f"{CASCADED}, Table 2",
        "largest true positive rate with a false positive rate of at most 0.01", verification,
        net="identity", absent=PAIRS_FILE,
    ),
    Metric(
        "verification_auc", "Area under the ROC", "share", "higher", f"ID-GAN; {CASCADED}",
        "area under true over false positive rate", verification, net="identity", absent=PAIRS_FILE,
    ),
)  # fmt: skip

METRICS: tuple[Metric, ...] = (
    *IDENTITY, *ATTRIBUTES, *LIKENESS, *TEMPORAL, *REALISM, *VERIFICATION,
)  # fmt: skip
