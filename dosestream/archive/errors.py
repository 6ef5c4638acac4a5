"""What can go wrong with an archive."""


class ArchiveError(Exception):
    """The archive cannot be written, read or restored as asked; the text says what to do."""


class DamagedError(ArchiveError):
    """A file is not what the manifest says: fetch it from a copy, then verify again."""


class GapError(ArchiveError):
    """Offsets are missing, or held twice, between files, or between the archive and its topic."""


class OtherRecordsError(ArchiveError):
    """A topic that is to be restored holds other records than the archive: restore into an empty one."""
