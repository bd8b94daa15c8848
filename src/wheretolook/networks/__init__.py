"""Any torch module as a guided network; the FCNs; added classifiers; weights files."""
