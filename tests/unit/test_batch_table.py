"""Tables and folders of videos: every form says the same, and every mistake is told with its place."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest

from masklet.errors import InputError, MaskletError
from masklet.jobs.job import JobExport
from masklet.jobs.table import TableError, read_jobs


@pytest.fixture(scope="module")
def twelve_frames(session_video_maker) -> Path:
    return session_video_maker.make("twelve.mp4", count=12)


@pytest.fixture
def folder(tmp_path: Path, twelve_frames: Path) -> Path:
    """Two short videos of 96×64 pixels, and the picture of a mask."""
    made = tmp_path / "footage"
    made.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(twelve_frames, made / name)
    return made


def test_csv_yaml_json_and_a_folder_say_the_same(folder: Path) -> None:
    (folder / "t.csv").write_text(
        "video,object,class,frame,points,negative,box,end\n"
        'a.mp4,fox,animal,2,"20,16 30,20","80,60",,9\n'
        'a.mp4,hen,,4,,,"5,5,40,40",\n'
        "\n"
        'b.mp4,,,,"20,16",,,\n'
    )
    listed = [
        {
            "video": "a.mp4",
            "end": 9,
            "classes": {"fox": "animal"},
            "prompts": [
                {"object": "fox", "frame": 2, "points": [[20, 16], [30, 20], [80, 60]], "labels": [1, 1, 0]},
                {"object": "hen", "frame": 4, "box_xyxy": [5, 5, 40, 40]},
            ],
        },
        {"video": "b.mp4", "points": "20,16"},
    ]
    (folder / "t.json").write_text(json.dumps(listed))
    (folder / "t.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in listed))
    (folder / "t.yaml").write_text(
        "videos:\n"
        "  - video: a.mp4\n    end: 9\n    classes: {fox: animal}\n    prompts:\n"
        "      - {object: fox, frame: 2, points: '20,16 30,20', negative: '80,60'}\n"
        "      - {object: hen, frame: 4, box: '5,5,40,40'}\n"
        "  - {video: b.mp4, points: '20,16'}\n"
    )
    for entry in listed:
        (folder / entry["video"].replace(".mp4", ".prompts.json")).write_text(
            json.dumps({name: value for name, value in entry.items() if name != "video"})
        )
    first, second = read_jobs(folder / "t.csv")
    assert (first.name, first.source, first.classes) == ("a", str(folder / "a.mp4"), {"fox": "animal"})
    assert first.prompts[0].points == ((20, 16), (30, 20), (80, 60)) and first.prompts[0].labels == (1, 1, 0)
    assert first.prompts[1].box == (5, 5, 40, 40) and first.settings.end == "9"
    assert second.prompts[0].points == ((20, 16),)
    for other in ("t.json", "t.jsonl", "t.yaml", "."):
        assert read_jobs(folder / other) == [first, second], other


def test_formats_and_settings_of_the_command_are_for_those_that_say_nothing(folder: Path) -> None:
    (folder / "t.json").write_text(
        json.dumps([{"video": "a.mp4", "points": "20,16", "formats": ["mot"]}, {"video": "b.mp4", "points": "20,16"}])
    )
    jobs = read_jobs(folder / "t.json", exports=[JobExport(format="coco", options={"every": 2})])
    assert [[export.format for export in job.exports] for job in jobs] == [["mot"], ["coco"]]
    assert jobs[0].request({"policy": "recency"}).policy == "recency"


def test_every_mistake_is_told_with_its_line(folder: Path) -> None:
    (folder / "t.csv").write_text(
        "video,object,frame,points,box\n"
        'a.mp4,fox,2,"20,16",\n'
        'a.mp4,hen,99,"20,16",\n'
        'nothing.mp4,fox,2,"20,16",\n'
        'b.mp4,fox,2,"20;x",\n'
    )
    with pytest.raises(TableError) as caught:
        read_jobs(folder / "t.csv")
    text = str(caught.value)
    assert text.startswith("3 mistakes") and "nothing was started" in text
    for line, words in (("line 2, line 3", "99"), ("line 4", "nothing.mp4"), ("line 5", "points can't be read")):
        assert any(line in mistake and words in mistake for mistake in caught.value.mistakes), text


def test_a_video_that_cannot_be_read_is_no_mistake_of_the_table(folder: Path) -> None:
    (folder / "b.mp4").write_bytes(b"broken" * 100)
    (folder / "t.csv").write_text('video,points\na.mp4,"20,16"\nb.mp4,"20,16"\n')
    assert [job.name for job in read_jobs(folder / "t.csv")] == ["a", "b"]


BAD = {
    "empty.csv": "",
    "no_video.csv": "object,points\nfox,'1,2'\n",
    "unknown_column.csv": "video,colour\na.mp4,red\n",
    "no_prompt.csv": "video\na.mp4\n",
    "too_many.csv": 'video,points\na.mp4,"20,16",3,4,5\n',
    "quote.csv": 'video,points\na.mp4,"20,16\n',
    "nul.csv": "video,points\na.mp4\0,1\n",
    "half_point.csv": "video,points\na.mp4,20\n",
    "word_box.csv": 'video,box\na.mp4,"1,2,3,x"\n',
    "box_of_three.csv": 'video,box\na.mp4,"1,2,3"\n',
    "box_inside_out.csv": 'video,box\na.mp4,"40,40,5,5"\n',
    "outside.csv": 'video,points\na.mp4,"2000,16"\n',
    "nan.csv": 'video,points\na.mp4,"nan,16"\n',
    "infinite.csv": 'video,points\na.mp4,"inf,16"\n',
    "frame.csv": 'video,frame,points\na.mp4,-1,"20,16"\n',
    "time.csv": 'video,frame,points\na.mp4,soon,"20,16"\n',
    "mask.csv": "video,mask\na.mp4,nothing.png\n",
    "mask_is_no_picture.csv": "video,mask\na.mp4,mask_is_no_picture.csv\n",
    "model.csv": 'video,points,model\na.mp4,"20,16",enormous\n',
    "policy.csv": 'video,points,policy\na.mp4,"20,16",luck\n',
    "resolution.csv": 'video,points,resolution\na.mp4,"20,16",7\n',
    "settings.csv": 'video,points,policy_settings\na.mp4,"20,16",{\n',
    "finish.csv": 'video,points,finish\na.mp4,"20,16","{""grow"": ""much""}"\n',
    "direction.csv": 'video,points,direction\na.mp4,"20,16",up\n',
    "range.csv": 'video,points,start,end\na.mp4,"20,16",9,3\n',
    "only_negative.csv": 'video,negative\na.mp4,"20,16"\n',
    "two_of_a_name.csv": 'video,name,points\na.mp4,x,"20,16"\nb.mp4,x,"20,16"\n',
    "two_ends.csv": 'video,points,end\na.mp4,"20,16",5\na.mp4,"21,16",6\n',
    "broken.json": "[{",
    "number.json": "7",
    "texts.json": '["a.mp4"]',
    "deep.json": "[" * 100_000,
    "format.json": '[{"video": "a.mp4", "points": "20,16", "formats": ["papyrus"]}]',
    "option.json": '[{"video": "a.mp4", "points": "20,16", "formats": [{"format": "coco", "options": {"every": 0}}]}]',
    "formats.json": '[{"video": "a.mp4", "points": "20,16", "formats": 3}]',
    "prompts.json": '[{"video": "a.mp4", "prompts": "20,16"}]',
    "labels.json": '[{"video": "a.mp4", "prompts": [{"points": [[20, 16]], "labels": [1, 0]}]}]',
    "rle.json": '[{"video": "a.mp4", "prompts": [{"rle": {"size": [1, 1], "counts": "x"}}]}]',
    "line.jsonl": '{"video": "a.mp4", "points": "20,16"}\n{"video"\n',
    "tab.yaml": "videos:\n\t- a\n",
    "alias.yaml": "videos: &x [*x]\n",
    "object.yaml": "!!python/object/apply:os.system ['true']\n",
    "video_number.yaml": "- {video: 3, points: '20,16'}\n",
    "head.csv": '"\n',
    "twice.csv": 'video,points,video\na.mp4,"20,16",b.mp4\n',
    "late.csv": 'video,frame,points\na.mp4,12,"20,16"\n',
    "missing.csv": 'video,points\nmissing.mp4,"20,16"\n',
    "no_boxes.csv": "video,boxes\na.mp4,det.txt\n",
    "schedule.json": '[{"video": "a.mp4", "detector": {"detector": "math:hypot", "every": "often"}}]',
    "checkpoint.csv": 'video,points,checkpoint\na.mp4,"20,16",nothing.pt\n',
    "surrogate.json": r'[{"video": "a.mp4", "points": "20,16", "object": "\ud800"}]',
    "laughs.yaml": "".join(
        f"{name}: &{name} [{', '.join(['*' + before if before else 'x'] * 9)}]\n"
        for before, name in itertools.pairwise(["", *"abcdefghijkl"])
    )
    + "videos: [*l]\n",
    "classes.yaml": "- {video: a.mp4, points: '20,16', classes: [1]}\n",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_in_words(folder: Path, name: str) -> None:
    (folder / name).write_text(BAD[name])
    with pytest.raises(InputError) as caught:
        read_jobs(folder / name)
    assert len(str(caught.value)) > 15


@pytest.mark.parametrize("place", ["nothing", "nothing.csv", "table.xlsx", "latin.csv", "empty_folder", "lonely"])
def test_places_without_a_table_are_refused_in_words(folder: Path, place: str) -> None:
    (folder / "table.xlsx").write_bytes(b"PK\3\4")
    (folder / "latin.csv").write_bytes("video\nä.mp4\n".encode("latin-1"))
    (folder / "empty_folder").mkdir()
    (folder / "lonely").mkdir()
    (folder / "lonely" / "clip.prompts.json").write_text("{}")
    with pytest.raises(MaskletError) as caught:
        read_jobs(folder / place)
    assert len(str(caught.value)) > 15
