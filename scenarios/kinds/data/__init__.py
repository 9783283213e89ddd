"""Data sets: one class a kind, in the file of its sort."""

from scenarios.kinds.data.base import Data
from scenarios.kinds.data.built_in import (
    BlobsData,
    BreastCancerData,
    DiabetesData,
    DigitsData,
    LinearData,
    WineData,
)
from scenarios.kinds.data.files import IdxData, NpzData, TableData

__all__ = [
    "BlobsData",
    "BreastCancerData",
    "Data",
    "DiabetesData",
    "DigitsData",
    "IdxData",
    "LinearData",
    "NpzData",
    "TableData",
    "WineData",
]
