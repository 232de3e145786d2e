"""What the words for modalities, body parts and views mean: sets of narrow terms that can be compared.

A wide word is the set of what it may be, so that two words contradict each other only where their sets share nothing:
a model for ``LATERAL`` takes ``LL``, and a model for ``LIVER`` takes an image that only says ``ABDOMEN``.
"""

__all__ = ["meaning", "plain"]

_ABDOMEN = {"LIVER", "KIDNEY", "PANCREAS", "SPLEEN", "STOMACH", "BOWEL", "ABDOMINAL WALL"}
_PELVIS = {"BLADDER", "PROSTATE", "UTERUS", "HIP", "PELVIC BONE"}
_CHEST = {"LUNG", "HEART", "MEDIASTINUM", "RIB"}
_HEAD = {"BRAIN", "SKULL", "FACE"}
_SPINE = {"CERVICAL SPINE", "THORACIC SPINE", "LUMBAR SPINE", "SACRUM"}
_NECK = {"THYROID", "LARYNX", "CERVICAL SPINE"}
_LIMBS = {"SHOULDER", "ELBOW", "WRIST", "HAND", "KNEE", "ANKLE", "FOOT", "UPPER LIMB", "LOWER LIMB"}
_BODY = {*_ABDOMEN, *_PELVIS, *_CHEST, *_HEAD, *_SPINE, *_NECK, *_LIMBS, "BREAST"}

# defined terms of Body Part Examined (DICOM PS3.16 Annex L) and common free words
_BODY_PARTS: dict[str, set[str]] = {
    **{name: {name} for name in _BODY},
    **{key: {*_CHEST, "THORACIC SPINE"} for key in ("CHEST", "THORAX", "CHST", "CXR")},
    **{key: {"LUNG"} for key in ("LUNGS", "PULMONARY")},
    **{key: {*_ABDOMEN, "LUMBAR SPINE"} for key in ("ABDOMEN", "ABD", "ABDO")},
    **{key: {"LIVER"} for key in ("HEPATIC", "HEPAR")},
    **{key: {"KIDNEY"} for key in ("KIDNEYS", "RENAL")},
    **{key: {*_PELVIS, "SACRUM"} for key in ("PELVIS", "PELV")},
    **{key: {*_ABDOMEN, *_PELVIS, "LUMBAR SPINE", "SACRUM"} for key in ("ABDOMENPELVIS", "ABDOMEN PELVIS")},
    **{key: {*_CHEST, *_ABDOMEN, *_SPINE} for key in ("CHESTABDOMEN", "CHEST ABDOMEN")},
    **{key: {*_CHEST, *_ABDOMEN, *_PELVIS, *_SPINE} for key in ("CHESTABDPELVIS", "CHEST ABDOMEN PELVIS")},
    **{key: {*_HEAD, *_NECK} for key in ("HEAD", "HEADNECK", "HEAD NECK")},
    "NECKCHEST": {*_NECK, *_CHEST, *_SPINE},
    "NECK": _NECK,
    "SPINE": _SPINE,
    "CSPINE": {"CERVICAL SPINE"},
    "TSPINE": {"THORACIC SPINE"},
    "LSPINE": {"LUMBAR SPINE"},
    "HIPS": {"HIP"},
    "EXTREMITY": _LIMBS,
    "ARM": {"UPPER LIMB", "SHOULDER", "ELBOW", "WRIST"},
    "LEG": {"LOWER LIMB", "KNEE", "ANKLE", "HIP"},
    **{key: {"BREAST"} for key in ("MAMMA", "BREASTS")},
    **dict.fromkeys(("WHOLEBODY", "WHOLE BODY", "BODY"), _BODY),
}
# View Position (DICOM PS3.3 C.8.1.1 and C.8.11.5) and common words
_VIEWS: dict[str, set[str]] = {
    **{key: {"PA"} for key in ("PA", "POSTEROANTERIOR", "POSTERO ANTERIOR", "POSTERIOR ANTERIOR")},
    **{key: {"AP"} for key in ("AP", "ANTEROPOSTERIOR", "ANTERO POSTERIOR", "ANTERIOR POSTERIOR")},
    "AP SUPINE": {"AP"},
    "AP ERECT": {"AP"},
    "FRONTAL": {"PA", "AP"},
    **{key: {"LL"} for key in ("LL", "LEFT LATERAL")},
    **{key: {"RL"} for key in ("RL", "RIGHT LATERAL")},
    **{key: {"LL", "RL"} for key in ("LATERAL", "LAT")},
    **{name: {name} for name in ("LLD", "RLD", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "CC", "MLO", "ML", "LM")},
    **{key: {"LLO", "RLO", "LAO", "RAO", "LPO", "RPO"} for key in ("OBLIQUE", "OBL")},
    "DECUBITUS": {"LLD", "RLD"},
}
_MODALITIES: dict[str, set[str]] = {"MRI": {"MR"}, "PET": {"PT"}, "XR": {"DX", "CR"}, "X RAY": {"DX", "CR"}}
_TABLES = {"modality": _MODALITIES, "body_part": _BODY_PARTS, "view": _VIEWS}


def plain(word: str) -> str:
    """Return a word in capitals, its dashes, slashes and underscores as single spaces."""
    return " ".join("".join(" " if character in "-_/,." else character for character in word.upper()).split())


def meaning(fact: str, word: str) -> frozenset[str]:
    """What a word may mean; empty where the table does not know it.

    A modality that is not in the table means itself, as those of DICOM are defined terms. Body parts and views are
    often free text: an unknown word says nothing.

    Examples
    --------
    >>> sorted(meaning("view", "frontal")), meaning("view", "routine")
    (['AP', 'PA'], frozenset())
    """
    name = plain(word)
    found = _TABLES[fact].get(name)
    if found is not None:
        return frozenset(found)
    return frozenset({name}) if fact == "modality" and name else frozenset()
