"""``fullfield evaluate TASK``: the page of a classifier, and one line for what cannot be scored."""

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("lightning")

from classifiers import Classifier
from classifiers.stampsets import read_stamps
from classifiers.tasks import Task
from classifiers.training import train_and_export
from fieldprep.cards import sha256
from fullfield.classifierevaluation import evaluate_classifier

pytestmark = pytest.mark.train

TASK = """
name = "blob"
classes = ["wide", "narrow"]
turned = true
[stamps]
size = 16
channels = 3
gray = true
[labels]
w = "wide"
n = "narrow"
[recipe]
epochs = 3
batch = 8
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with a set of pictures of wide and narrow blobs, a task that tells them apart, trained for a moment."""
    folder = tmp_path_factory.mktemp("blobs")
    random = np.random.default_rng(0)
    y, x = np.mgrid[:24, :24] - 11.5
    rows = []
    (folder / "set" / "images").mkdir(parents=True)
    for i in range(120):
        light = 20 + 180 * np.exp(-(x**2 + y**2) / (2 * (4.0, 1.3)[i % 2] ** 2)) + random.normal(0, 4, x.shape)
        cv2.imwrite(str(folder / "set" / "images" / f"{i}.png"), np.clip(light, 0, 255).astype(np.uint8))
        label = "?" if i < 4 else "wn"[i % 2]
        rows.append({"name": f"{i}.png", "label": label, "sky": f"patch {i // 4}", "mag": 14 + i % 5})
    pd.DataFrame(rows).to_csv(folder / "set" / "labels.csv", index=False)
    (folder / "blob.toml").write_text(TASK)
    train_and_export(Task.read(folder / "blob.toml"), read_stamps(folder / "set"), folder / "out")
    return folder


@pytest.fixture
def evaluated(cli, trained, tmp_path):
    """Run the command with what is changed: status, output, errors."""

    def call(*more, task=trained / "blob.toml", data=trained / "set", classifier=trained / "out" / "blob.onnx"):
        return cli("evaluate", task, data, "--classifier", classifier, "--out", tmp_path / "page", *more)

    return call


@pytest.fixture
def refused(evaluated, tmp_path):
    """Run it so that it must fail; gives its one line."""

    def call(*more, status=1, **changed):
        got, out, err = evaluated(*more, **changed)
        assert got == status, err
        assert "Traceback" not in out + err
        assert len(err.strip().splitlines()) == 1
        assert not (tmp_path / "page" / "evaluation.html").exists()
        return err

    return call


def alone(trained, folder):
    """The classifier without the split of its training."""
    for name in ("blob.onnx", "blob.json"):
        shutil.copy(trained / "out" / name, folder / name)
    return folder / "blob.onnx"


def no_constants(text):
    """Fail on what JSON has no word for."""
    raise AssertionError(text)


def test_the_part_that_was_kept_for_it_is_scored(evaluated, trained, tmp_path):
    status, out, err = evaluated()
    assert status == 0, err
    text = (tmp_path / "page" / "evaluation.json").read_text()
    told = json.loads(text, parse_constant=no_constants)
    parts = pd.read_csv(trained / "out" / "split.csv")["part"].value_counts()
    assert told["n"] == parts["test"]
    assert told["scored_on"]["unseen"]
    assert told["scored_on"]["other_labels"] == 4
    assert told["threshold"]["chosen_on"] == "validation"
    assert told["threshold"]["chosen_n"] == parts["validate"]
    assert (
        told["accuracy"]["value"]
        == Classifier.load(trained / "out" / "blob.onnx").card.scores["all stamps"]["all"]["accuracy"]["value"]
    )
    assert f"{parts['train']} train, {parts['validate']} validate" in out
    page = (tmp_path / "page" / "evaluation.html").read_text()
    assert "none of them, nor on others of their groups" in page
    assert 'src="http' not in page
    assert "Not drawn" not in page
    assert "Grad-CAM" in page
    assert {path.stem for path in (tmp_path / "page" / "evaluation").glob("*.png")} == {
        *("confusion", "curves", "reliability", "histograms", "magnitudes", "filters")
    }


def relabelled(table, **labels):
    """Every fifth label swapped, so that there are mistakes, then called otherwise."""
    swapped = table["label"].map({"w": "n", "n": "w", "?": "?"}).where(table.index % 5 == 0, table["label"])
    return table.assign(label=swapped.replace(labels))


@pytest.fixture(scope="module")
def mistaken(trained, tmp_path_factory):
    """Folder of a page of stamps with mistakes, their table of labels, and what is in its JSON and its CSV."""
    folder = tmp_path_factory.mktemp("mistaken")
    data = changed_set(
        trained, folder, lambda table: relabelled(table).assign(mine=table["mag"].where(table["mag"] > 14))
    )
    task, path = Task.read(trained / "blob.toml"), alone(trained, folder)
    evaluate_classifier(task, read_stamps(data), classifier=str(path), magnitude="mine", out=folder / "page")
    told = json.loads((folder / "page" / "evaluation.json").read_text())
    return folder / "page", pd.read_csv(data / "labels.csv"), told, pd.read_csv(folder / "page" / "evaluation.csv")


def test_the_table_of_stamps_agrees_with_the_scores(mistaken):
    folder, _, told, rows = mistaken
    assert rows.columns.tolist() == ["name", "group", "label", "given", "p_wide", "p_narrow", "magnitude"]
    classes, found = told["classes"], rows[["p_wide", "p_narrow"]].to_numpy()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (np.array(classes)[found.argmax(axis=1)] == rows["given"]).all()
    assert len(rows) == told["n"] == 116
    assert rows["group"].nunique() == told["groups"]
    right = rows["label"] == rows["given"]
    assert right.mean() == pytest.approx(told["accuracy"]["value"])
    counts = [[int(((rows["label"] == t) & (rows["given"] == g)).sum()) for g in classes] for t in classes]
    assert counts == told["confusion"]
    wide = rows["label"] == "wide"
    assert 2 * ((rows["p_wide"] - wide) ** 2).mean() == pytest.approx(told["brier"]["value"])
    own, other = rows["p_wide"][wide].to_numpy()[:, None], rows["p_wide"][~wide].to_numpy()
    assert ((own > other) + (own == other) / 2).mean() == pytest.approx(told["per_class"]["wide"]["auc"])
    assert told["magnitudes"]["column"] == "mine"
    assert rows["magnitude"].isna().sum() == told["magnitudes"]["without"] > 0
    for row in told["magnitudes"]["bins"]:
        some = np.floor(rows["magnitude"]) == row["low"]
        assert some.sum() == row["n"]
        assert right[some].mean() == pytest.approx(row["accuracy"]["value"])
    assert not list(folder.glob(".*"))  # nothing half-written is left


def test_the_table_of_stamps_says_what_the_labels_say(mistaken):
    _, labels, _, rows = mistaken
    table = labels.set_index("name").loc[rows["name"]]
    assert table["label"].map({"w": "wide", "n": "narrow"}).tolist() == rows["label"].tolist()
    assert table["sky"].tolist() == rows["group"].tolist()
    np.testing.assert_array_equal(table["mine"], rows["magnitude"])


def test_a_mistake_has_the_map_of_its_class_and_of_the_class_given(mistaken):
    folder, _, _, rows = mistaken
    wrong = rows[rows["label"] != rows["given"]]
    highest = wrong[["p_wide", "p_narrow"]].max(axis=1)
    surest_first = wrong.loc[highest.sort_values(ascending=False, kind="stable").index].iloc[:24]
    assert len(surest_first) > 0
    page = (folder / "evaluation.html").read_text()
    surest = page[page.index("Its surest mistakes") : page.index("Where it is least sure")]
    figures = surest.split("<figure")[1:]
    for figure, (_, row) in zip(figures, surest_first.iterrows(), strict=True):
        assert f"<figcaption>{row['name']}<br>is {row['label']}; {row['given']}" in figure
        assert figure.count("<img") == 3
        own, of_given = f"for {row['label']}, its class</div>", f"for {row['given']}, the class given</div>"
        assert figure.index(own) < figure.index(of_given)
    assert ", its class" not in page[page.index("Where it is least sure") :]


def test_labels_that_the_task_does_not_know_are_given_classes(evaluated, trained, tmp_path):
    data = changed_set(trained, tmp_path, lambda table: relabelled(table, n="thin"))
    path = alone(trained, tmp_path)
    status, out, err = evaluated("--map", "thin=narrow,?=wide", "--magnitude", "mag", data=data, classifier=path)
    assert status == 0, err
    told = json.loads((tmp_path / "page" / "evaluation.json").read_text())
    assert told["n"] == 120
    labels = pd.read_csv(data / "labels.csv")["label"].value_counts()
    assert {name: row["n"] for name, row in told["per_class"].items()} == {
        "wide": labels["w"] + labels["?"],
        "narrow": labels["thin"],
    }
    assert told["scored_on"]["labels"] == {"thin": "narrow", "?": "wide"}
    assert told["scored_on"]["other_labels"] == 0
    assert "accuracy by mag: 14-15 " in out
    assert "Of the labels thin is narrow, ? is wide." in (tmp_path / "page" / "evaluation.html").read_text()


def test_a_map_that_makes_no_sense(refused, tmp_path):
    assert "--map wants each label once with its class" in refused("--map", "thin", status=2)
    # before anything is read
    told = refused("--map", "thin=flat", status=2, data=tmp_path / "none")
    assert "--map thin=flat: the classes of blob are wide, narrow" in told
    assert "--map thin=narrow: no stamp is labelled thin; the labels are ?, n, w" in refused(
        "--map", "thin=narrow", status=2
    )
    assert "w is a label of wide already, not of narrow" in refused("--map", "w=narrow", status=2)


def test_a_column_of_magnitudes_that_makes_no_sense(refused):
    told = refused("--magnitude", "rmag", status=2)
    assert "no column rmag to bin scores by; there is name, label, sky, mag" in told
    assert "column sky to bin scores by is not numeric: patch " in refused("--magnitude", "sky", status=2)


def test_few_groups_are_told_of(evaluated, mistaken, trained, tmp_path):
    assert mistaken[2]["notes"] == []
    assert "are rough" not in (mistaken[0] / "evaluation.html").read_text()
    data = changed_set(trained, tmp_path, lambda table: table.assign(sky=table.index // 30))
    status, out, err = evaluated(data=data, classifier=alone(trained, tmp_path))
    assert status == 0, err
    (note,) = json.loads((tmp_path / "page" / "evaluation.json").read_text())["notes"]
    assert note == (
        "Intervals told by drawing fewer than 10 groups are rough, and rather too narrow. "
        "Here: all scores (4 groups), wide (4 groups), narrow (4 groups), the threshold (2 groups)."
    )
    assert note in out
    assert note in (tmp_path / "page" / "evaluation.html").read_text()


def test_of_a_series_the_page_says_that_the_latest_epoch_is_shown(cli, trained, tmp_path):
    def in_epochs(table):
        rows = table.iloc[8:].reset_index(drop=True)
        first = rows.index - rows.index % 2
        return rows.assign(objectId=rows["label"] + (rows.index // 8).astype(str), mjd=59_000.0 + rows.index - first)

    data = changed_set(trained, tmp_path, in_epochs)
    text = TASK.replace("turned = true", 'network = "series"').replace("gray = true", "gray = true\nepochs = 3")
    (tmp_path / "blob.toml").write_text(text.replace("epochs = 3\nbatch", "epochs = 1\nbatch"))
    task = Task.read(tmp_path / "blob.toml")
    path = train_and_export(task, read_stamps(data), tmp_path / "out")
    shutil.move(path.with_name("split.csv"), tmp_path)
    status, _, err = cli("evaluate", tmp_path / "blob.toml", data, "--classifier", path, "--out", tmp_path / "page")
    assert status == 0, err
    page = (tmp_path / "page" / "evaluation.html").read_text()
    assert "Of each object only the latest epoch is shown" in page
    assert page.count("shown: the latest of 3 epochs that it saw, of 4") == page.count("<figcaption>") > 0
    assert "Not drawn" in page


def test_where_nothing_tells_what_it_was_trained_on_the_page_says_so(evaluated, trained, tmp_path):
    path = alone(trained, tmp_path)
    status, out, err = evaluated(classifier=path)
    assert status == 0, err
    assert "All 116 labelled stamps are scored. It is not known which" in out
    assert "It is not known which of these stamps" in (tmp_path / "page" / "evaluation.html").read_text()
    status, out, err = evaluated("--split", trained / "out" / "split.csv", classifier=path)
    assert status == 0, err
    assert "The classifier was trained, validated and calibrated on none of them" in out


def test_a_split_of_other_stamps(refused, evaluated, trained, tmp_path):
    other = tmp_path / "split.csv"
    other.write_text("name,part\nx,test\n")
    assert "names none of the 116 stamps" in refused("--split", other)
    other.write_text("nothing\n")
    assert "not the split of a training" in refused("--split", other)
    other.write_text("name,part\nx,test\n")
    status, out, err = evaluated(classifier=alone(trained, tmp_path))
    assert status == 0, err
    assert "under other names is not known" in out


def test_a_part_of_one_class(refused, tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("name,part\n5.png,test\n7.png,test\n")
    assert "of fewer than two classes (n 2)" in refused("--split", path)


def changed_set(trained, folder, change):
    """The set with its table changed."""
    shutil.copytree(trained / "set", folder / "changed")
    table = pd.read_csv(folder / "changed" / "labels.csv")
    change(table).to_csv(folder / "changed" / "labels.csv", index=False)
    return folder / "changed"


def test_one_class_only(refused, trained, tmp_path):
    data = changed_set(trained, tmp_path, lambda table: table[table["label"] == "w"])
    assert "labels of fewer than two classes of blob (wide, narrow)" in refused(data=data)


def test_an_empty_set(refused, trained, tmp_path):
    assert "no labelled stamp in it" in refused(data=changed_set(trained, tmp_path, lambda table: table[:0]))


def test_labels_without_images(refused, trained, tmp_path):
    data = changed_set(trained, tmp_path, lambda table: table.assign(name="a" + table["name"]))
    assert "no image for 120 of 120 labels (a0.png, a1.png, a2.png, ...)" in refused(data=data)


def test_a_column_that_is_not_there(refused):
    assert "no column kind for the labels" in refused("--label", "kind")
    assert "no column kind to tell what may not be split" in refused("--group", "kind", status=2)


def test_stamps_of_other_channels(refused, trained, tmp_path):
    random = np.random.default_rng(0)
    planes = {name: random.normal(0, 1, (8, 16, 16)) for name in ("science", "template", "difference")}
    np.savez(tmp_path / "triplets.npz", **planes)
    pd.DataFrame({"candid": range(8), "label": ["w", "n"] * 4}).to_csv(tmp_path / "alerts.csv", index=False)
    path = alone(trained, tmp_path)
    card = json.loads((tmp_path / "blob.json").read_text())
    card["stamps"] |= {"channels": 2, "gray": False}
    (tmp_path / "blob.json").write_text(json.dumps(card))
    told = refused(data=tmp_path / "triplets.npz", classifier=path)
    assert "stamp 0: 3 channels, where the classifier takes 2" in told


def test_a_classifier_of_other_classes(refused, trained):
    told = refused(task="star_galaxy", data=trained / "set", classifier=trained / "out" / "blob.onnx")
    assert "tells wide, narrow, where the classes of star_galaxy are galaxy, star" in told


def test_a_corrupt_network(refused, trained, tmp_path):
    path = alone(trained, tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    assert "is not the card's" in refused(classifier=path)
    card = json.loads((tmp_path / "blob.json").read_text()) | {"sha256": sha256(path)}
    (tmp_path / "blob.json").write_text(json.dumps(card))
    assert "not a network that openvino can load" in refused(classifier=path)


def test_a_task_and_weights_that_are_not_there(refused, cli, trained):
    assert "nosuch: no such task" in refused(task="nosuch", status=2)
    status, _, err = cli("evaluate", trained / "blob.toml", trained / "set")
    assert status == 1
    assert "blob.onnx: not in weights" in err


def test_a_classifier_is_held_against_another_on_what_neither_was_trained_on(evaluated, trained, tmp_path):
    task = Task.read(trained / "blob.toml")
    other = train_and_export(task, read_stamps(trained / "set"), tmp_path / "other", seed=1)
    status, out, err = evaluated("--against", other)
    assert status == 0, err
    told = json.loads((tmp_path / "page" / "evaluation.json").read_text(), parse_constant=no_constants)
    tests = [
        pd.read_csv(path.with_name("split.csv")).query("part == 'test'") for path in (trained / "out" / "x", other)
    ]
    both = set(tests[0]["name"]) & set(tests[1]["name"])
    assert told["against"]["n"] == len(both) < told["n"]
    assert f"all (n {len(both)}): accuracy" in out
    assert "difference" in out
    assert "Against another" in (tmp_path / "page" / "evaluation.html").read_text()


def test_a_classifier_is_no_better_than_itself(evaluated, trained, tmp_path):
    status, _, err = evaluated("--against", trained / "out" / "blob.onnx")
    assert status == 0, err
    told = json.loads((tmp_path / "page" / "evaluation.json").read_text())
    assert told["against"]["n"] == told["n"]
    assert told["against"]["accuracy"]["difference"] == {"value": 0, "low": 0, "high": 0, "n": told["n"]}


def test_another_of_other_classes_is_refused(refused):
    assert "star_galaxy: tells galaxy, star, where the classes of blob are" in refused("--against", "star_galaxy")
