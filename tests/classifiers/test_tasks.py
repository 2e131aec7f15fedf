import pytest

from classifiers.splits import NEGM, SHARES
from classifiers.tasks import Task, names
from fieldprep.errors import InputError, UsageError

GOOD = """
name = "own"
classes = ["a", "b"]
[stamps]
size = 16
channels = 1
[labels]
"1" = "a"
"2" = "b"
[recipe]
epochs = 3
"""


def written(tmp_path, text):
    path = tmp_path / "own.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", names())
def test_every_task_of_the_package_is_one(name):
    task = Task.read(name)
    assert Task.of(task.as_table()) == task
    assert task.about


def test_labels_are_told_as_classes_and_others_left_out(tmp_path):
    task = Task.read(written(tmp_path, GOOD))
    assert [task.class_of(label) for label in ("1", "2", "3", "a")] == ["a", "b", None, None]
    assert Task.read("star_galaxy").class_of("star") == "star"
    assert task.recipe.epochs == 3


def test_a_task_learns_labels_and_keeps_those_it_has(tmp_path):
    task = Task.read(written(tmp_path, GOOD)).with_labels({"one": "a", "2": "b"})
    assert [task.class_of(label) for label in ("1", "2", "one", "a")] == ["a", "b", "a", None]
    stars = Task.read("star_galaxy").with_labels({"S": "star"})
    assert [stars.class_of(label) for label in ("S", "star", "galaxy", "s")] == ["star", "star", "galaxy", None]
    with pytest.raises(ValueError, match="labels must be of galaxy, star, got quasar"):
        stars.with_labels({"Q": "quasar"})
    with pytest.raises(ValueError, match="S is a label of star already, not of galaxy"):
        stars.with_labels({"S": "galaxy"})


# Negm 2021, the table of section 1.2: original, visual and binary class
PAPER = {
    "Artefact": ("Artefact", "Not-Real"),
    "Dipole": ("Dipole/Saturated", "Not-Real"),
    "Saturated Star": ("Dipole/Saturated", "Not-Real"),
    "Moving": ("Real", "Real"),
    "Variable": ("Real", "Real"),
    "Transient": ("Real", "Real"),
    "SN Other": ("Real", "Real"),
    "SN Bronze": ("Real", "Real"),
    "SN Silver": ("Real", "Real"),
    "SN Gold": ("Real", "Real"),
}


def test_the_hand_scanners_classes_become_negms_three():
    task = Task.read("sdss_sn_three")
    visual = {"Artefact": "artefact", "Dipole/Saturated": "dipole_saturated", "Real": "real"}
    assert {label: task.class_of(label) for label in PAPER} == {label: visual[of] for label, (of, _) in PAPER.items()}
    assert task.classes[0] == "real"


def test_the_hand_scanners_classes_become_negms_two_but_for_the_saturated_star_that_his_text_calls_real():
    task = Task.read("sdss_sn")
    binary = {"Not-Real": "bogus", "Real": "real"}
    differ = {label for label, (_, of) in PAPER.items() if task.class_of(label) != binary[of]}
    assert differ == {"Saturated Star"}
    assert task.class_of("Saturated Star") == task.class_of("Saturated star") == "real"


def test_the_hand_scanners_ten_classes_stay_ten():
    task = Task.read("sdss_sn_ten")
    given = [task.class_of(label) for label in PAPER]
    assert given == [label.lower().replace(" ", "_") for label in PAPER]
    assert sorted(task.classes) == sorted(given)


def test_the_three_tasks_of_the_same_stamps_read_the_same_labels_and_stamps():
    two, three, ten = (Task.read(name) for name in ("sdss_sn", "sdss_sn_three", "sdss_sn_ten"))
    assert two.labels.keys() == three.labels.keys() == ten.labels.keys()
    assert two.stamps == three.stamps == ten.stamps
    assert (two.stamps.size, two.stamps.channels) == (69, 3)


@pytest.mark.parametrize("name", names())
def test_the_papers_tasks_have_the_papers_shares(name):
    his = "Negm" in Task.read(name).about or name.startswith("sdss_sn")
    others = {"galaxy10": (0.8, 0.1, 0.1), "galaxy10_sdss": (0.8, 0.1, 0.1), "gz2": (0.85, 0.15, 0.0)}
    others |= dict.fromkeys(("cluster_member", "cluster_member_gray", "cluster_member_vit"), (0.5625, 0.1875, 0.25))
    wanted = NEGM if his else others.get(name, SHARES)
    assert Task.read(name).recipe.shares == wanted


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "own"', 'name = "not one"', "name must be"),
        ('classes = ["a", "b"]', 'classes = ["a"]', "two or more"),
        ('classes = ["a", "b"]', "", "classes"),
        ('"1" = "a"', '"1" = "z"', "labels must be of a, b, got z"),
        ("size = 16", "size = 0", "size must be"),
        ("epochs = 3", "epochs = 0", "epochs must be over 0"),
        ("epochs = 3", 'loss = "hinge"', "loss must be of"),
        ("epochs = 3", 'schedule = "exponential"', "fall must be over 0"),
        ("epochs = 3", "fall = 0.1", "fall must be over 0 for the schedule exponential, and for it only"),
        ("epochs = 3", "faintest = 0.5", "faintest and coarsest are of pictures"),
        ("epochs = 3", "coarsest = 0.5", "coarsest 1 or more"),
        ("epochs = 3", 'precision = "8"', "precision must be of"),
        ("epochs = 3", "balance = 2", "balance must be from 0 to 1"),
        ('name = "own"', 'name = "own"\nunweighted = true\nlayers = {q = ["a", "b"]}', "unweighted must be false"),
        ('"1" = "a"', '"1" = "a|z"', "labels must be of a, b, got z"),
        ("epochs = 3", 'augment = ["warp"]', "augment must be of"),
        ("epochs = 3", "shares = [0.7, 0.3]", "shares must be 3 numbers over 0"),
        ("epochs = 3", "shares = [0.7, 0.3, 0.0]", "shares must be 3 numbers over 0"),
        ("epochs = 3", "zoom = -0.1", "zoom must not be under 0"),
        ("epochs = 3", "frozen_epochs = -1", "frozen_epochs must not be under 0"),
        ("epochs = 3", "brightness = [1.2, 0.9]", "brightness must be two factors"),
        ("epochs = 3", 'loss = "votes"\nbalance = false', "classes must be Class1.1 to Class11.6"),
        ("epochs = 3", 'loss = "votes"', "balance must be 0"),
        ('name = "own"', 'name = "own"\ntree = true', "tree must be false for the loss cross_entropy"),
        ("epochs = 3", "shares = 0.7", "not a classifier's task"),
        ("epochs = 3", "unheard_of = 1", "unheard_of"),
        ("epochs = 3", "epochs =", "not a classifier's task"),
    ],
)
def test_a_file_that_is_no_task_is_refused_in_one_line(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message) as error:
        Task.read(written(tmp_path, GOOD.replace(old, new)))
    assert "\n" not in str(error.value)
    assert "own.toml" in str(error.value)


def test_an_unknown_task_says_which_there_are():
    with pytest.raises(UsageError, match=r"nosuch: no such task; give a path, or one of .*star_galaxy"):
        Task.read("nosuch")


def test_galaxy_zoos_votes_are_trained_as_the_paper_says():
    task = Task.read("gz2")
    recipe = task.recipe
    assert (task.centre, task.stamps.size, task.network, task.pretrained) == (0.5, 224, "efficientnet_b0", True)
    assert (recipe.frozen_epochs, recipe.epochs, recipe.patience, recipe.batch) == (30, 40, 10, 70)
    assert (recipe.optimiser, recipe.rate, recipe.schedule, recipe.shuffle) == ("adam", 1.5e-4, "plateau", False)
    assert (task.activation, task.of_votes, len(task.classes)) == ("fractions", True, 37)
    short = recipe.lasting(5)
    assert (short.frozen_epochs, short.epochs) == (5, 5)
    assert recipe.lasting(60).frozen_epochs == 30
