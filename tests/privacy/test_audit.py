"""The planted study: `audit` finds every leak of a naive output, and none in ours."""

import base64
import bz2
import gzip
import hashlib
import io
import json
import lzma
import pickle
import sqlite3
import struct
import tarfile
import urllib.parse
import zipfile
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image, PngImagePlugin

from medseg.privacy import Identifier, audit, read_identifiers

NAME = "patient_name"


def png(**chunks):
    about, out = PngImagePlugin.PngInfo(), io.BytesIO()
    for kind, text in chunks.items():
        {"text": about.add_text, "itxt": about.add_itxt}[kind.split("_")[0]]("Comment", text, zip="zip" in kind)
    Image.new("L", (8, 8)).save(out, "PNG", pnginfo=about)
    return out.getvalue()


def jpeg(**options):
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG", **options)
    return out.getvalue()


def exif(tag, value):
    about = Image.Exif()
    about[tag] = value
    return about


def tiff():
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "TIFF", tiffinfo={270: "of 0012345-PAT, ID PAT 12345"})
    return out.getvalue()


def nifti(descrip=b"", extension=b""):
    header = bytearray(352)
    header[:4], header[344:348] = struct.pack("<i", 348), b"n+1\0"
    header[148 : 148 + len(descrip)] = descrip
    if extension:
        header[348:352] = b"\1\0\0\0"
        padded = extension + b"\0" * (-(len(extension) + 8) % 16)
        header += struct.pack("<ii", len(padded) + 8, 6) + padded
    return bytes(header) + np.arange(64, dtype=np.float32).tobytes()


def archive(name, data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, data)
    return out.getvalue()


def tarball(name, data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        about = tarfile.TarInfo(name)
        about.size = len(data)
        packed.addfile(about, io.BytesIO(data))
    return out.getvalue()


def npz(value):
    out = io.BytesIO()
    np.savez(out, who=np.array([value]))
    return out.getvalue()


def pdf(text):
    stream = zlib.compress(f"BT ({text}) Tj ET".encode())
    return b"%PDF-1.4\n1 0 obj\n<</Filter/FlateDecode>>\nstream\n" + stream + b"\nendstream\nendobj\n"


def database(value, path):
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (name text)")
        connection.execute("insert into t values (?)", (value,))
    connection.close()


def page(image):
    return f'<html><img src="data:image/png;base64,{base64.b64encode(image).decode()}"></html>'.encode()


BINARY = bytes(range(256)) * 4  # what is no text
KANJI = "山田太郎"
# file of a naive output -> its content, and what it gives away; names of files count too
PLANTED = {
    "cases.csv": (b"case,name\n1,Yamada^Tarou\n", NAME),
    "upper.log": (b"reading YAMADA, TARO (2 series)\n", NAME),
    "passport.log": (b"Mr Taroh YAMADA was here\n", NAME),
    "joined.txt": (b"[yamadatarou2]", NAME),
    "initial.txt": (b"TYamada", NAME),
    "family.txt": (b"CT of Yamada, 2 series", NAME),
    "kanji.txt": ("患者:山田　太郎様".encode(), NAME),
    "bom.txt": (b"\xef\xbb\xbf" + "山田".encode(), NAME),
    "hiragana.txt": ("やまだ たろう".encode(), NAME),
    "katakana.txt": ("ヤマダ・タロウ".encode(), NAME),
    "long_mark.txt": ("ヤマダタロー".encode(), NAME),
    "half_width.csv": ("1,ﾔﾏﾀﾞ ﾀﾛｳ".encode("cp932"), NAME),
    "full_width.txt": ("ＹＡＭＡＤＡ　ＴＡＲＯ".encode(), NAME),
    "sjis.csv": ("番号,氏名\n1,山田太郎\n".encode("cp932"), NAME),
    "euc.csv": ("番号,氏名\n1,山田太郎\n".encode("euc_jp"), NAME),
    "jis.eml": ("氏名: 山田太郎\n".encode("iso2022_jp"), NAME),
    "utf16.txt": ("山田太郎".encode("utf-16"), NAME),
    "utf16.bin": (BINARY + "Yamada\0".encode("utf-16-le") + BINARY, NAME),
    "utf16_kanji.bin": (BINARY + KANJI.encode("utf-16-be") + BINARY, NAME),
    "sjis.bin": (BINARY + KANJI.encode("cp932") + BINARY, NAME),
    "euc.bin": (BINARY + KANJI.encode("euc_jp") + BINARY, NAME),
    "jis.bin": (BINARY + KANJI.encode("iso2022_jp") + BINARY, NAME),
    "kana.bin": (BINARY + "ﾔﾏﾀﾞﾀﾛｳ".encode("cp932") + BINARY, NAME),
    "escapes.json": (json.dumps({"who": KANJI}).encode(), NAME),
    "bytes.log": (repr(KANJI.encode()).encode(), NAME),
    "percent.txt": (f"http://pacs/{urllib.parse.quote(KANJI)}?x=1".encode(), NAME),
    "percent_latin.txt": (b"http://pacs/%59amada%5ETarou", NAME),
    "entities.html": (KANJI.encode("ascii", "xmlcharrefreplace"), NAME),
    "entities_hex.html": ("".join(f"&#x{ord(c):x};" for c in KANJI).encode(), NAME),
    "taro_yamada_0001.txt": (b"-", NAME),
    "山田太郎.txt": (b"-", NAME),
    "ﾔﾏﾀﾞﾀﾛｳ.txt": (b"-", NAME),
    "PAT0012345/slice.txt": (b"-", "patient_id"),
    ".hidden/state.json": (b'{"id": "PAT0012345"}', "patient_id"),
    "id_joint.txt": (b"case pat-0012345.", "patient_id"),
    "id_bare.txt": (b"id=PAT12345", "patient_id"),
    "id_full_width.txt": ("ＰＡＴ００１２３４５".encode(), "patient_id"),
    "id_md5.csv": (hashlib.md5(b"PAT0012345").hexdigest().encode(), "patient_id"),
    "id_sha256.csv": (f"p{'x'}_{hashlib.sha256(b'PAT0012345').hexdigest()[:12]}".encode(), "patient_id"),
    "name_sha1.csv": (hashlib.sha1(b"Yamada^Tarou").hexdigest().upper().encode(), NAME),
    "id_base64.txt": (base64.b64encode(b"patient PAT0012345, CT"), "patient_id"),
    "birth_iso.csv": (b"1970-01-31T00:00:00", "birth_date"),
    "birth_compact.csv": (b"a,19700131,b", "birth_date"),
    "birth_slashes.csv": (b"1970/1/31", "birth_date"),
    "birth_german.txt": (b"geb. 31.01.1970", "birth_date"),
    "birth_us.txt": (b"1/31/1970", "birth_date"),
    "birth_short.txt": (b"31/01/70", "birth_date"),
    "birth_day_month.txt": (b"31-JAN-1970", "birth_date"),
    "birth_month_day.txt": (b"January 31st, 1970", "birth_date"),
    "birth_japanese.txt": ("1970年1月31日生".encode(), "birth_date"),
    "birth_era.csv": ("昭和45年1月31日".encode("cp932"), "birth_date"),
    "birth_era_kanji.txt": ("昭和四十五年一月三十一日".encode(), "birth_date"),
    "birth_era_sign.txt": ("㍼45.1.31".encode(), "birth_date"),
    "birth_era_letter.txt": (b"S45.01.31", "birth_date"),
    "birth_full_width.txt": ("１９７０／０１／３１".encode(), "birth_date"),
    "text.png": (png(text="PatientID PAT0012345"), "patient_id"),
    "ztext.png": (png(text_zip="Yamada Tarou" * 9), NAME),
    "itext.png": (png(itxt=KANJI), NAME),
    "ztext_unicode.png": (png(itxt_zip=KANJI), NAME),
    "exif.png": (b"", NAME),
    "trailing.png": (png() + b"Yamada Tarou", NAME),
    "comment.jpg": (jpeg(comment=b"Yamada Taro"), NAME),
    "exif.jpg": (jpeg(exif=exif(0x010E, "12345-PAT0012345")), "patient_id"),
    "windows.jpg": (jpeg(exif=exif(0x9C9B, "PAT12345".encode("utf-16-le"))), "patient_id"),
    "tags.tif": (tiff(), "patient_id"),
    "descrip.nii": (nifti(b"YAMADA TAROU"), NAME),
    "descrip.nii.gz": (gzip.compress(nifti("山田太郎".encode("cp932"))), NAME),
    "extension.nii.gz": (gzip.compress(nifti(extension=b"born 1970-01-31")), "birth_date"),
    "image.nrrd": (b"NRRD0004\ntype: float\npatient:=Yamada Taro\n\n" + BINARY, NAME),
    "image.mha": (b"ObjectType = Image\nID = PAT0012345\nElementDataFile = LOCAL\n" + BINARY, "patient_id"),
    "name.txt.gz": (b"", NAME),
    "deep.tar.gz": (tarball("a.txt", gzip.compress(KANJI.encode())), NAME),
    "member.tar.gz": (tarball("Yamada/a.txt", b"-"), NAME),
    "text.bz2": (bz2.compress(KANJI.encode()), NAME),
    "text.xz": (lzma.compress(KANJI.encode()), NAME),
    "letter.docx": (archive("word/document.xml", f"<w:t>{KANJI}</w:t>"), NAME),
    "member.zip": (archive("PAT0012345.txt", "-"), "patient_id"),
    "strings.npz": (npz("Yamada Tarou"), NAME),
    "state.pickle": (pickle.dumps({"patient": "Yamada Tarou", "weights": BINARY}), NAME),
    "report.pdf": (pdf("Yamada, Taro"), NAME),
    "hex.pdf": (b"%PDF-1.4\n<" + (b"\xfe\xff" + KANJI.encode("utf-16-be")).hex().encode() + b">", NAME),
    "table.sqlite": (b"", NAME),
    "report.html": (page(png(text="PAT0012345")), "patient_id"),
    "private.dcm": (b"", NAME),
    "seg.dcm": (b"", "patient_id"),  # the name of a result, but a copy of the image
    "doctor.txt": (b"referred by Dr. S. Kitagawa", "person_name"),
    "address.txt": ("東京都千代田区 丸の内９－９－９".encode(), "address"),
    "phone.txt": (b"+81-3-5555-0199", "telephone"),
    "clinic.txt": (b"MARUHACHI CLINIC", "institution"),
    "accession.txt": (b"acc_778899", "accession_number"),
    "uid.json": (b"", "uid"),
    "link.txt": (b"", "patient_id"),
}

# where the name of a file or folder is the leak, it is reported masked
MASKED = {
    "PAT0012345/slice.txt": "P*********",
    "taro_yamada_0001.txt": "t***_******_0001.txt",
    "山田太郎.txt": "山***.txt",
    "ﾔﾏﾀﾞﾀﾛｳ.txt": "ヤ*****.txt",
}


@pytest.fixture(scope="module")
def naive(study, tmp_path_factory):
    """Output that nobody thought about."""
    folder = tmp_path_factory.mktemp("naive")
    for name, (content, _) in PLANTED.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    source = sorted(study.rglob("*.dcm"))[0]
    header = pydicom.dcmread(source)
    (folder / "uid.json").write_text(json.dumps({"series": header.SeriesInstanceUID}))
    (folder / "seg.dcm").write_bytes(source.read_bytes())
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientAddress", "PatientTelephoneNumbers"):
        del header[keyword]
    header.save_as(folder / "private.dcm")
    with gzip.GzipFile("Yamada.txt", "wb", fileobj=(folder / "name.txt.gz").open("wb")) as stream:
        stream.write(b"-")
    about = Image.Exif()
    about[0x9286] = b"UNICODE\0" + KANJI.encode("utf-16-be")  # UserComment
    Image.new("L", (8, 8)).save(folder / "exif.png", exif=about)
    (folder / "table.sqlite").unlink()
    database(KANJI, folder / "table.sqlite")
    (folder / "link.txt").unlink()
    (folder / "link.txt").symlink_to("/archive/PAT0012345/a.txt")
    return folder


@pytest.fixture(scope="module")
def found(study, naive):
    return audit(naive, read_identifiers(study))


def test_every_planted_leak_of_a_naive_output_is_found(found):
    leaks = {(leak.file, leak.kind) for leak in found.leaks}
    planted = {(MASKED.get(name, name), kind) for name, (_, kind) in PLANTED.items()}
    assert planted - leaks == set()


def test_a_report_of_leaks_is_none_itself(found, naive, study, tmp_path):
    report = json.dumps(found.to_json(), ensure_ascii=False)
    (tmp_path / "report.json").write_text(report)
    assert audit(tmp_path, read_identifiers(study)).leaks == []
    assert found.n_files == len(PLANTED) - 1, "but for the link"
    assert found.excepted == {}
    assert list(found.not_searched) == ["link.txt"], "the link leads nowhere; where to was searched"


def test_places_are_named(found):
    places = {(leak.file, leak.place) for leak in found.leaks}
    assert places >= {
        ("ztext.png", "PNG zTXt chunk"),
        ("exif.jpg", "JPEG EXIF: TIFF tag 270"),
        ("deep.tar.gz", "gzip: tar member 1: gzip: content"),
        ("descrip.nii.gz", "gzip: NIfTI descrip"),
        ("report.html", "base64 1: PNG tEXt chunk"),
        ("link.txt", "target of the link"),
        ("private.dcm", "private DICOM element (0011,1001)"),
        ("private.dcm", "private DICOM element (0011,1002)"),
    }


HARMLESS = {
    "numbers.csv": b"0.19700131,1.0012345,PAT00123456,XPAT0012345,119700131,12345",
    "words.txt": "Yamadaya, ramada, 山口太郎, tarou, やまもと".encode(),
    "dates.txt": "1970-01-30 1970-11-31 700131 昭和46年1月31日 S45.1.3".encode(),
    "hash.txt": hashlib.sha256(b"PAT0012346").hexdigest().encode(),
    "short.bin": BINARY + "山田".encode("cp932") + BINARY,  # four bytes: by chance in every gigabyte
    "jis.bin": BINARY + b";3EDB@O:" + BINARY,  # the bytes of the name, with no escape before them
    "odd.bin": b"\1" + "xYamada\0".encode("utf-16-le") + BINARY,  # within a word, at an odd place
}


def test_what_only_looks_alike_is_no_leak(study, tmp_path):
    for name, content in HARMLESS.items():
        (tmp_path / name).write_bytes(content)
    assert audit(tmp_path, read_identifiers(study)).leaks == []


def test_what_counts_as_a_name_is_chosen(tmp_path):
    (tmp_path / "a.txt").write_text("Tarou")
    (tmp_path / "b.txt").write_text("Yamada")
    (tmp_path / "c.txt").write_text("Tarou Yamada")
    patient = [Identifier("patient_name", "Yamada^Tarou")]
    files = {names: [leak.file for leak in audit(tmp_path, patient, names=names).leaks]
             for names in ("full", "family", "all")}  # fmt: skip
    assert files == {"full": ["c.txt"], "family": ["b.txt", "c.txt"], "all": ["a.txt", "b.txt", "c.txt"]}


def test_short_numbers_count_in_the_fields_of_a_header_and_not_among_voxels(tmp_path):
    (tmp_path / "a.nii").write_bytes(nifti(b"4711"))
    (tmp_path / "b.nii").write_bytes(nifti() + BINARY + b"4711" + BINARY)
    (leak,) = audit(tmp_path, [Identifier("patient_id", "4711")]).leaks
    assert (leak.file, leak.place, leak.count) == ("a.nii", "NIfTI descrip", 1)


def test_counts_and_blocks(tmp_path, monkeypatch):
    from medseg.privacy import place

    monkeypatch.setattr(place, "BLOCK", 1 << 12)
    (tmp_path / "a.txt").write_text("id 4711-0815 " * 3)
    for at in range(4090, 4100):  # over the border of two blocks
        (tmp_path / f"{at}.txt").write_bytes(b" " * at + b"4711-0815" + b" " * 9000)
        (tmp_path / f"{at}.bin").write_bytes(b"\0" * at + b"4711-0815" + b"\0" * 9000)
    result = audit(tmp_path, [Identifier("patient_id", "47110815")])
    counts = {leak.file: leak.count for leak in result.leaks}
    assert counts["a.txt"] == 3
    assert len(counts) == 21


def test_what_cannot_be_searched_is_no_clean_result(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x" * 1000)[:-20])
    (tmp_path / "b.zip").write_bytes(archive("a", "b")[:40])
    (tmp_path / "c.png").write_bytes(png()[:20])
    (tmp_path / "d.txt").symlink_to(tmp_path / "nowhere")
    result = audit(tmp_path, [Identifier("patient_id", "47110815")])
    assert sorted(result.not_searched) == ["a.gz", "b.zip", "c.png", "d.txt"]


@pytest.mark.parametrize(
    ("magic", "name"),
    [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"Rar!\x1a\x07\x01\0", "rar"),
     (b"\x04\x22\x4d\x18", "lz4"), (b"\x1f\x9d\x90", ".Z"), (b"LZIP\1", "lzip"), (b"MSCF\0\0\0\0", "cab")],
)  # fmt: skip
def test_archives_that_cannot_be_opened_are_said_and_their_bytes_searched(magic, name, tmp_path):
    (tmp_path / "a.bin").write_bytes(magic + BINARY + b"\0 47110815 \0")
    (tmp_path / "b.gz").write_bytes(gzip.compress(magic + BINARY))
    result = audit(tmp_path, [Identifier("patient_id", "47110815")])
    assert [leak.file for leak in result.leaks] == ["a.bin"]
    assert {file: reason.split(": what")[0] for file, reason in result.not_searched.items()} == {
        "a.bin": name,
        "b.gz": f"gzip: {name}",
    }


def test_dicom_results_and_keys_are_excepted_by_content_and_not_by_name_alone(study, tmp_path):
    source = pydicom.dcmread(sorted(study.rglob("*.dcm"))[0])
    source.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.34"
    source.save_as(tmp_path / "sr.dcm")
    source.save_as(tmp_path / "other.dcm")
    key = {"schema_version": 1, "key": "0" * 64, "sources": {"s1": "/archive/PAT0012345"}}
    (tmp_path / "pseudonyms.json").write_text(json.dumps(key))
    (tmp_path / "dataset.csv").write_text("case_id,image,image_2,label\ns1,/PAT0012345/a,/PAT0012345/b,1\n")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "pseudonyms.json").write_text('{"PAT0012345": 1}')
    patient = read_identifiers(study)
    result = audit(tmp_path, patient)
    assert {leak.file for leak in result.leaks} == {"other.dcm", "x/pseudonyms.json"}
    assert sorted(result.excepted) == ["dataset.csv", "pseudonyms.json", "sr.dcm"]
    everything = audit(tmp_path, patient, dicom_results=True, source_paths=True)
    assert everything.excepted == {}
    assert {"sr.dcm", "pseudonyms.json", "dataset.csv"} <= {leak.file for leak in everything.leaks}
    (tmp_path / "dataset.csv").write_text("case_id,image,label\nPAT0012345,/PAT0012345/a,1\n")
    assert "dataset.csv" in {leak.file for leak in audit(tmp_path, patient).leaks}, "no path, so no exception"
