"""Import of customers and opportunities from CSV files, as a mapping file says: in one transaction, or not at all.

Open `mapping` for what a mapping may say, `run` for how an import goes.
"""

from models.crm_import.mapping import CrmMapping, load_mapping, read_mapping
from models.crm_import.problems import CrmImportError
from models.crm_import.run import ImportResult, TableCounts, import_crm

__all__ = [
    "CrmImportError",
    "CrmMapping",
    "ImportResult",
    "TableCounts",
    "import_crm",
    "load_mapping",
    "read_mapping",
]
