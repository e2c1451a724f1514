"""Taking a patient's direct identifiers out of a DICOM data set.

After the Basic Application Level Confidentiality Profile (PS3.15, table E.1-1), for the attributes listed here and
every private one. What is drawn into the pixels is not looked for, and neither is what free text beyond these
attributes says: the file does not claim the whole profile.
"""

from __future__ import annotations

import copy
import uuid
from typing import TYPE_CHECKING, Any

from restoration.medical.warning import WARNING

if TYPE_CHECKING:
    from pydicom import Dataset

METHOD = (
    "nested-restoration: no direct identifiers, dates, private data",
    "UIDs replaced; free texts mostly removed; pixels not searched",
)
_SPACE = uuid.UUID("c7a1f7a2-5f0f-4c39-8f0a-0c6f3d8f3f55")
_EMPTIED = {
    *("AccessionNumber", "ContentCreatorName", "ContentDate", "ContentTime"),
    *("FillerOrderNumberImagingServiceRequest", "PatientBirthDate", "PatientID", "PatientName", "PatientSex"),
    *("PlacerOrderNumberImagingServiceRequest", "ReferringPhysicianName", "StudyDate", "StudyID", "StudyTime"),
    *("VerifyingObserverName",),
}
"""Type 2 attributes: they must be there, and may be empty (action Z)."""
_REMOVED = {
    *("AcquisitionComments", "AcquisitionDate", "AcquisitionDateTime"),
    *("AcquisitionDeviceProcessingDescription", "AcquisitionProtocolDescription", "AcquisitionTime"),
    *("AdditionalPatientHistory", "AdmissionID", "AdmittingDate", "AdmittingDiagnosesDescription"),
    *("AdmittingTime", "AffectedSOPInstanceUID", "Allergies", "BranchOfService", "CassetteID"),
    *("ContainerIdentifier", "CountryOfResidence", "CurrentPatientLocation", "CurveDate", "CurveTime"),
    *("CustodialOrganizationSequence", "DateOfLastCalibration", "DetectorID", "DeviceSerialNumber"),
    *("DeviceUID", "DischargeDiagnosisDescription", "EthnicGroup", "FrameComments", "GantryID", "GeneratorID"),
    *("IdentifyingComments", "ImagePresentationComments", "InstanceCreatorUID", "InstitutionAddress"),
    *("InstitutionCodeSequence", "InstitutionName", "InstitutionalDepartmentName"),
    *("InsurancePlanIdentification", "InterpretationText", "IssuerOfAdmissionID", "IssuerOfPatientID"),
    *("IssuerOfServiceEpisodeID", "LastMenstrualDate", "MedicalAlerts", "MedicalRecordLocator", "MilitaryRank"),
    *("ModifiedAttributesSequence", "NameOfPhysiciansReadingStudy", "Occupation"),
    *("OperatorIdentificationSequence", "OperatorsName", "OriginalAttributesSequence", "OtherPatientIDs"),
    *("OtherPatientIDsSequence", "OtherPatientNames", "OverlayDate", "OverlayTime", "PatientAddress"),
    *("PatientAge", "PatientBirthName", "PatientBirthTime", "PatientComments", "PatientInstitutionResidence"),
    *("PatientInsurancePlanCodeSequence", "PatientMotherBirthName", "PatientPrimaryLanguageCodeSequence"),
    *("PatientReligiousPreference", "PatientSexNeutered", "PatientSize", "PatientState"),
    *("PatientTelecomInformation", "PatientTelephoneNumbers", "PatientTransportArrangements", "PatientWeight"),
    *("PerformedLocation", "PerformedProcedureStepDescription", "PerformedProcedureStepEndDate"),
    *("PerformedProcedureStepEndTime", "PerformedProcedureStepID", "PerformedProcedureStepStartDate"),
    *("PerformedProcedureStepStartTime", "PerformedStationAETitle", "PerformedStationName"),
    *("PerformingPhysicianIdentificationSequence", "PerformingPhysicianName", "PersonAddress"),
    *("PersonTelephoneNumbers", "PhysiciansOfRecord", "PhysiciansOfRecordIdentificationSequence"),
    *("PhysiciansReadingStudyIdentificationSequence", "PlateID", "PregnancyStatus", "ProtocolName"),
    *("ReasonForStudy", "ReasonForTheRequestedProcedure", "ReferencedPatientSequence"),
    *("ReferencedPerformedProcedureStepSequence", "ReferencedStudySequence", "ReferringPhysicianAddress"),
    *("ReferringPhysicianIdentificationSequence", "ReferringPhysicianTelephoneNumbers", "RegionOfResidence"),
    *("RequestAttributesSequence", "RequestedProcedureComments", "RequestedProcedureDescription"),
    *("RequestedProcedureID", "RequestingPhysician", "RequestingService", "ResponsibleOrganization"),
    *("ResponsiblePerson", "ResultsComments", "ReviewerName", "ScheduledPerformingPhysicianName", "SeriesDate"),
    *("SeriesTime", "ServiceEpisodeDescription", "ServiceEpisodeID", "SmokingStatus", "SpecialNeeds"),
    *("StationName", "StudyComments", "StudyDescription", "StudyIDIssuer", "TextComments"),
    *("TimeOfLastCalibration", "TimezoneOffsetFromUTC", "VisitComments"),
}
"""Type 3 attributes, which may be left out (action X), with all that they hold."""
_KEPT_UIDS = ("SOPClassUID", "TransferSyntaxUID", "CodingSchemeUID", "ContextUID", "MappingResourceUID")


def deidentified(dataset: Dataset) -> Dataset:
    """A copy without what names the patient, staff and places, without dates and private data, with other UIDs.

    A UID becomes the same other one wherever it stands, in every file: slices and their references stay together.
    """
    plain = copy.deepcopy(dataset)
    plain.remove_private_tags()
    plain.walk(_clean)
    for name in _EMPTIED:
        if name in plain:
            setattr(plain, name, "")
    plain.PatientIdentityRemoved = "YES"
    plain.DeidentificationMethod = list(METHOD)
    plain.ImageComments, plain.SeriesDescription = WARNING, "restored"
    return plain


def _clean(dataset: Dataset, element: Any) -> None:
    name = element.keyword
    if name in ("InstanceCreationDate", "InstanceCreationTime", "ContributionDateTime"):  # of our own work
        return
    if name in _REMOVED or (element.VR == "UI" and not name and element.tag.is_private):
        del dataset[element.tag]
    elif element.VR == "PN":
        element.value = ""
    elif element.VR in ("DA", "DT", "TM") and name not in _EMPTIED:
        del dataset[element.tag]
    elif element.VR == "UI" and name not in _KEPT_UIDS and not name.endswith("SOPClassUID"):
        values = [element.value] if isinstance(element.value, str) else list(element.value or ())
        renewed = [_renewed(str(value)) for value in values]
        element.value = renewed[0] if len(renewed) == 1 else renewed


def _renewed(uid: str) -> str:
    """Another UID in its place; those that DICOM itself defines stay."""
    if not uid or uid.startswith("1.2.840.10008."):
        return uid
    return f"2.25.{uuid.uuid5(_SPACE, uid).int}"
