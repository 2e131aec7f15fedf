"""Tables of the SDSS catalogue service for its stand-in, from real fields."""

import bz2
import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.wcs import WCS

RERUN = 301
# of the real fields, as in the last HDU of their r frames, which would take seconds each to get at
ASTROMETRY = pd.read_csv(Path(__file__).with_name("astrometry.csv"), index_col=["run", "camcol", "field"])
FLAGS = {"BRIGHT": 0x2, "EDGE": 0x4, "BINNED1": 0x10000000}
HAS_CENTER = 0x4000000000000000  # a real object's flags go up to here: more than a float holds exactly


def object_id(run, camcol, field, number, *, sky_version=2, rerun=RERUN):
    """objID as SDSS composes it: skyVersion, rerun, run, camcol, field, object (SkyServer help, "objID")."""
    return sky_version << 59 | rerun << 48 | run << 32 | camcol << 29 | field << 16 | number


class Tables:
    """The survey's tables, from real fields: positions and shapes theirs, votes and spectra made up and seeded."""

    def __init__(self):
        self.frame, self.field, self.photo, self.votes = [], [], [], []
        self.random = np.random.default_rng(20)

    def add(self, folder):
        """Add a field."""
        run, camcol, field = map(int, folder.name.split("-"))
        self._add_frame(run, camcol, field, ASTROMETRY.loc[(run, camcol, field)])
        path = folder / "catalogue.csv"
        if path.exists():
            wcs = frame_wcs(folder / f"frame-r-{folder.name}.fits.bz2")
            self._add_objects(run, camcol, field, pd.read_csv(path), wcs)

    def _add_frame(self, run, camcol, field, trans):
        # Frame is made from Field, whose coefficients are of single precision (FrameTables.sql, spMakeFrame)
        terms = {name: float(np.float32(trans[name])) for name in "abcdef"}
        circle = {"node": float(trans["node"]), "incl": float(trans["incl"])}
        numbers = {
            "fieldID": object_id(run, camcol, field, 0),
            "run": run,
            "rerun": RERUN,
            "camcol": camcol,
            "field": field,
        }
        self.field.append(
            numbers | {"quality": 3, "score": 0.9} | {f"{name}_r": value for name, value in terms.items()}
        )
        for zoom in (0, 12, 25, 50):
            self.frame.append(numbers | {"zoom": zoom} | terms | circle | centre(**terms, **circle))

    def _add_objects(self, run, camcol, field, rows, wcs):
        angle = position_angle(wcs, rows)
        for i, row in enumerate(rows.to_dict("records")):
            flags = HAS_CENTER | FLAGS["BINNED1"] | (FLAGS["EDGE"] if row["ignore"] else 0)
            bulge = bool(self.random.random() < 0.5)
            fitted = {"AB_r": row["axis_ratio"], "Phi_r": angle[i]}
            other = {"AB_r": self.random.random(), "Phi_r": 180 * self.random.random()}
            one = {
                "objID": object_id(run, camcol, field, i + 1),
                "run": run,
                "rerun": RERUN,
                "camcol": camcol,
                "field": field,
                "obj": i + 1,
                "mode": 1,
                "nChild": 0,
                "type": row["type"],
                "clean": 1 - row["ignore"],
                "flags": flags,
                "ra": row["ra"],
                "dec": row["dec"],
                "rowc": row["y"] + 0.5,
                "colc": row["x"] + 0.5,
                "petroRad_r": row["petroRad_r"],
                "petroRadErr_r": -9999.0 if i % 50 == 0 else 0.1,
                "petroR50_r": row["petroR50_r"],
                "petroR90_r": 2.5 * row["petroR50_r"],
                "extinction_r": 0.05,
                "fracDeV_r": 0.9 if bulge else 0.1,
                **{f"modelMag_{band}": row[f"modelMag_{band}"] for band in "gri"},
                "modelMag_u": row["modelMag_g"] + 1.5,
                "modelMag_z": row["modelMag_i"] - 0.3,
                **{f"deV{name}": value for name, value in (fitted if bulge else other).items()},
                **{f"exp{name}": value for name, value in (other if bulge else fitted).items()},
            }
            self.photo.append(one)
            if row["type"] == 3 and row["modelMag_r"] < 17.8:
                self.votes.append(one)
        self._add_what_is_no_object(run, camcol, field, len(rows))

    def _add_what_is_no_object(self, run, camcol, field, objects):
        """Entries that the survey has and no catalogue should: a blend beside its parts, a bright object's twin."""
        for i, extra in enumerate(({"nChild": 2}, {"nChild": 1, "flags": HAS_CENTER | FLAGS["BRIGHT"]}, {"rerun": 40})):
            number = objects + 1 + i
            twin = self.photo[-1] | {"objID": object_id(run, camcol, field, number), "obj": number, "mode": 3}
            self.photo.append(twin | extra)

    def write(self, base):
        """Put the tables into a data base."""
        votes = self._votes()
        spectra = [{**one, **spectrum} for one, spectrum in zip(self.votes, self._spectra(), strict=True)]
        half = len(votes) * 2 // 3
        tables = {
            "Frame": self.frame,
            "Field": self.field,
            "PhotoObjAll": self.photo,
            "zooSpec": votes[:half],
            "zooNoSpec": votes[half:],
            "zoo2MainSpecz": self._votes_2(),
            "SpecObj": [{name: one[name] for name in _SPECTRUM} for one in spectra],
        }
        for name, rows in tables.items():
            columns = list(rows[0]) if rows else _COLUMNS[name]
            base.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
            marks = ", ".join("?" * len(columns))
            base.executemany(f"INSERT INTO {name} VALUES ({marks})", [tuple(row.values()) for row in rows])  # noqa: S608
        base.execute("CREATE VIEW PhotoPrimary AS SELECT * FROM PhotoObjAll WHERE mode = 1")
        base.execute("CREATE VIEW PhotoObj AS SELECT * FROM PhotoObjAll WHERE mode IN (1, 2)")

    def _votes(self):
        out = []
        for i, one in enumerate(self.votes):
            # of some the survey's primary detection, which carries the votes, lies in another run
            own = one["objID"] if i % 3 else object_id(94, 1, 11, i + 1)
            shares = self.random.dirichlet(np.full(6, 0.4)).round(3)
            named = dict(zip(("p_el", "p_cw", "p_acw", "p_edge", "p_dk", "p_mg"), map(float, shares), strict=True))
            named["p_cs"] = round(named["p_cw"] + named["p_acw"] + named["p_edge"], 3)
            out.append(_place(one) | {"objid": own, "nvote": int(self.random.integers(20, 60))} | named)
        return out

    def _votes_2(self):
        return [
            _place(one)
            | {"dr8objid": one["objID"], "total_votes": int(self.random.integers(100, 400))}
            | {f"{answer}_fraction": round(float(self.random.random()), 3) for answer in _ANSWERS}
            for one in self.votes
            if one["modelMag_r"] < 17
        ]

    def _spectra(self):
        return [
            {
                "specObjID": 299489677444933632 + 1024 * i,
                "bestObjID": one["objID"],
                "z": float(self.random.uniform(0.01, 0.2)),
                "zErr": 1e-5,
                "zWarning": 0,
                "class": "GALAXY",
                "subClass": "STARFORMING" if i % 3 else "",
            }
            for i, one in enumerate(self.votes)
        ]


_SPECTRUM = ("specObjID", "bestObjID", "ra", "dec", "z", "zErr", "zWarning", "class", "subClass")
_ANSWERS = (
    *("t01_smooth_or_features_a01_smooth", "t01_smooth_or_features_a02_features_or_disk"),
    *("t01_smooth_or_features_a03_star_or_artifact", "t02_edgeon_a04_yes", "t03_bar_a06_bar", "t04_spiral_a08_spiral"),
    *("t06_odd_a14_yes", "t07_rounded_a16_completely_round", "t07_rounded_a17_in_between"),
    *("t07_rounded_a18_cigar_shaped", "t08_odd_feature_a24_merger"),
)
_COLUMNS = {
    "Frame": [
        "fieldID",
        "run",
        "rerun",
        "camcol",
        "field",
        "zoom",
        *"abcdef",
        "node",
        "incl",
        "ra",
        "dec",
        "cx",
        "cy",
        "cz",
    ],
    "Field": ["fieldID", "run", "rerun", "camcol", "field", "quality", "score"],
    "PhotoObjAll": ["objID", "run", "camcol", "field", "rerun", "nChild", "flags", "mode", "ra", "dec"],
    "zooSpec": ["objid", "ra", "dec"],
    "zooNoSpec": ["objid", "ra", "dec"],
    "zoo2MainSpecz": ["dr8objid", "ra", "dec"],
    "SpecObj": list(_SPECTRUM),
}


def _place(one):
    """Position as the Galaxy Zoo tables keep it, in single precision, which leaves it four decimals of a degree."""
    return {name: float(f"{np.float32(one[name]):.7g}") for name in ("ra", "dec")}


def centre(*, a, b, c, d, e, f, node, incl):
    """Centre of a frame as spComputeFrameHTM makes it (FrameTables.sql), by fEqFromMuNu (spBoundary.sql)."""
    mu, nu = math.radians(a + b * 744.5 + c * 1024 - node), math.radians(d + e * 744.5 + f * 1024)
    incl = math.radians(incl)
    x, y, z = math.cos(mu) * math.cos(nu), math.sin(mu) * math.cos(nu), math.sin(nu)
    y, z = y * math.cos(incl) - z * math.sin(incl), y * math.sin(incl) + z * math.cos(incl)
    ra, dec = (math.degrees(math.atan2(y, x)) + node) % 360, math.degrees(math.asin(z))
    cx, cy, cz = unit(math.radians(ra), math.radians(dec))
    return {"ra": ra, "dec": dec, "cx": cx, "cy": cy, "cz": cz}


def position_angle(wcs, rows):
    """Position angles, degrees from north to east, of angles in pixels from +x towards +y."""
    x, y, theta = (rows[name].to_numpy() for name in ("x", "y", "theta_deg"))
    step = 0.5
    ra_0, dec_0 = wcs.pixel_to_world_values(x, y)
    ra, dec = wcs.pixel_to_world_values(x + step * np.cos(np.radians(theta)), y + step * np.sin(np.radians(theta)))
    east, north = (ra - ra_0) * np.cos(np.radians(dec_0)), dec - dec_0
    return np.degrees(np.arctan2(east, north)) % 180


def unit(ra, dec):
    """Unit vector of a direction in radians."""
    return math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)


def frame_wcs(path):
    """WCS of a frame; of the file no more is decompressed than its beginning."""
    with bz2.open(path) as handle, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WCS(fits.Header.fromfile(handle))
