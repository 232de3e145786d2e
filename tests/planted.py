"""A planted patient: name, number and dates at every place of a DICOM header that they may leak from."""

import pydicom

ID = "PAT0012345"
NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"
PHYSICIAN = "Kitagawa^Setsuko"


def plant(path):
    """Put the patient into the header of a DICOM file, in Japanese as PS3.5 annex H has it."""
    header = pydicom.dcmread(path)
    header.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    header.PatientName, header.PatientID, header.PatientBirthDate = NAME, ID, "19700131"
    header.PatientAddress, header.PatientTelephoneNumbers = "東京都千代田区丸の内9-9-9", "03-5555-0199"
    header.ReferringPhysicianName, header.AccessionNumber = PHYSICIAN, "ACC778899"
    header.InstitutionName, header.StudyDate = "Maruhachi Clinic", "20230405"
    block = header.private_block(0x0011, "MARUHACHI", create=True)
    block.add_new(1, "LO", "Yamada Tarou")
    block.add_new(2, "UN", "山田太郎".encode("cp932"))
    header.save_as(path)
