import pytest

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


def test_the_hand_scanners_classes_become_negms_two():
    task = Task.read("sdss_sn")
    assert {label for label, name in task.labels.items() if name == "bogus"} == {"Artefact", "Dipole"}
    assert len(task.labels) == 10


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
        ("epochs = 3", 'augment = ["warp"]', "augment must be of"),
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
