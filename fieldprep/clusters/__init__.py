"""Members of clusters of galaxies: from catalogues and redshifts to labelled samples and their pictures."""

from fieldprep.clusters.cleaning import Cleaned, Cleaning, Step, clean
from fieldprep.clusters.cluster import PERSEUS, WITTMANN, Classes, Cluster
from fieldprep.clusters.parts import Parts, shared_out, turned_copies
from fieldprep.clusters.regions import REGIONS, ColourRegions
from fieldprep.clusters.sample import Sample, cluster_sample, sample_of
from fieldprep.clusters.stamps import ClusterStamps, cluster_stamps

__all__ = [
    "PERSEUS",
    "REGIONS",
    "WITTMANN",
    "Classes",
    "Cleaned",
    "Cleaning",
    "Cluster",
    "ClusterStamps",
    "ColourRegions",
    "Parts",
    "Sample",
    "Step",
    "clean",
    "cluster_sample",
    "cluster_stamps",
    "sample_of",
    "shared_out",
    "turned_copies",
]
