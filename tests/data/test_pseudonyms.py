"""Names and paths stay out of messages."""

from medseg.data.pseudonyms import without_paths


def test_paths_go_and_the_reason_stays(tmp_path):
    source = tmp_path / "in"
    for folder in ("A:SMITH^JOHN", "B"):
        (source / folder).mkdir(parents=True)
        (source / folder / "1.dcm").write_text("")
    file = source / "A:SMITH^JOHN" / "1.dcm"
    assert without_paths(f"{file}: its pixels cannot be decoded (in: 3)", [source]) == (
        "image: its pixels cannot be decoded (in: 3)"
    )
    assert without_paths(f"'{file.parent}' and {source}", [f"{source}#1.2.3"]) == "'image' and image"
    assert without_paths("slices are missing: 1 gap in it", [source]) == "slices are missing: 1 gap in it"
