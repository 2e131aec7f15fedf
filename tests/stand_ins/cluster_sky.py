"""
A made sky about the Perseus cluster, on which the counts of Pruitt and Romanowsky's talk come out.

Their counts: 5,437 classed galaxies; 272 of them brighter than r = 19.4; 230 of those red; and 335 objects from a
spectroscopic search, members and others in each region of the diagram of r against g - z. What they do not tell is made
up: where things are, how the classes are shared, that the 5,437 hold the mergers and the 272 none.
"""

import numpy as np
from astropy.table import Table
from survey_tables import HAS_CENTER, RERUN, object_id

MIDDLE = (49.9507, 41.5117)
CLASSED, MERGERS, BRIGHT, RED = 5437, 61, 272, 230
# region: others, members
SEARCHED = {"blue cloud": (89, 1), "red sequence": (78, 71), "red shoulder": (80, 16)}
OFF = {"blue cloud": (-0.9, -0.3), "red sequence": (-0.15, 0.15), "red shoulder": (0.3, 0.9)}
_SIDE, _STEP_ARCSEC = 80, 20.0  # objects stand on a jittered grid, so that none is taken for its neighbour


def line(r):
    """g - z of the red sequence of this sky, which the default one of Perseus is."""
    return 1.75 - 0.06 * (r - 16)


class ClusterSky:
    """
    ``catalogue`` as VizieR is to serve it, ``photometry`` and ``spectra`` as rows of SkyServer's tables.

    ``bright`` and ``red`` are the rows of the catalogue that pass each step.
    """

    def __init__(self, seed=7):
        self.random = np.random.default_rng(seed)
        searched = sum(map(sum, SEARCHED.values()))
        ra, dec = self._places(CLASSED + searched)
        classes = self.random.choice([0, 1, 2, 3, 5, 6], CLASSED)
        order = self.random.permutation(CLASSED)
        self.bright, self.red = np.sort(order[:BRIGHT]), np.sort(order[:RED])
        classes[order[BRIGHT : BRIGHT + MERGERS]] = 4
        r = self.random.uniform(19.6, 24, CLASSED)
        # nothing is so bright among the mergers: a merging system counts as one here and there
        r[self.bright] = self.random.uniform(13.5, 19.3, BRIGHT)
        off = self.random.uniform(*OFF["red sequence"], CLASSED)
        off[order[RED:BRIGHT]] = self.random.choice([-0.5, 0.6], BRIGHT - RED)
        self.catalogue = Table(
            {
                "objID": np.arange(CLASSED) + 1,
                "ra": ra[:CLASSED].round(5),
                "dec": dec[:CLASSED].round(5),
                "morphology": classes.astype(np.int16),
            }
        )
        self.photometry = [self._photo(i, ra[i], dec[i], r[i], off[i]) for i in range(CLASSED)]
        self.spectra = []
        number = CLASSED
        for region, (others, members) in SEARCHED.items():
            for i in range(others + members):
                z = self._redshift(member=i >= others, star=i % 3 == 0)
                r_here = self.random.uniform(13.5, 19.3)
                self.photometry.append(
                    self._photo(number, ra[number], dec[number], r_here, self.random.uniform(*OFF[region]))
                )
                self.spectra.append(spectrum(number, ra[number], dec[number], z))
                number += 1

    def fill(self, survey):
        """Put the rows into a stand-in of SDSS."""
        survey.fill("PhotoObjAll", self.photometry)
        survey.fill("SpecObj", self.spectra)

    def _places(self, n):
        cell = self.random.permutation(_SIDE * _SIDE)[:n]
        shift = self.random.uniform(-4, 4, (2, n))
        x, y = ((axis - _SIDE / 2) * _STEP_ARCSEC + off for axis, off in zip(divmod(cell, _SIDE), shift, strict=True))
        dec = MIDDLE[1] + y / 3600
        return MIDDLE[0] + x / 3600 / np.cos(np.radians(dec)), dec

    def _redshift(self, *, member, star):
        if member:
            return self.random.uniform(0.0105, 0.0325)
        return self.random.normal(0, 2e-4) if star else self.random.uniform(0.034, 0.4)

    def _photo(self, number, ra, dec, r, off):
        shift = self.random.normal(0, 0.2 / 3600, 2)  # two surveys never agree to the last digit
        return photo(number, ra + shift[0], dec + shift[1], r, line(r) + off)


def photo(number, ra, dec, r, g_z, *, flags=0):
    """A row of PhotoObjAll."""
    magnitudes = {"g": r + 0.55 * g_z, "r": r, "i": r - 0.25 * g_z, "z": r - 0.45 * g_z}
    return {
        "objID": object_id(7917, 1 + number % 6, 11 + number // 2000, 1 + number % 2000),
        "rerun": RERUN,
        "mode": 1,
        "nChild": 0,
        "type": 3,
        "flags": HAS_CENTER | flags,
        "ra": float(ra),
        "dec": float(dec),
        "extinction_r": 0.45,
        **{f"modelMag_{band}": float(value) for band, value in magnitudes.items()},
    }


def spectrum(number, ra, dec, z, *, warning=0):
    """A row of SpecObj."""
    return {
        "specObjID": 299489677444933632 + 1024 * number,
        "bestObjID": object_id(7917, 1 + number % 6, 11 + number // 2000, 1 + number % 2000),
        "ra": float(ra),
        "dec": float(dec),
        "z": float(z),
        "zErr": 1e-5,
        "zWarning": warning,
        "class": "STAR" if z < 0.005 else "GALAXY",
        "subClass": "",
    }
