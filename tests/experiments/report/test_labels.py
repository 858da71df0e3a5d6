"""Labels keep clear of each other, of points and of the edge."""

from itertools import combinations

from experiments.report.charts import labels


def boxes(centres, texts):
    half = [labels.WIDTH_OF_LETTER * len(text) / 2 for text in texts]
    return [
        (x - h, y - labels.HEIGHT / 2, x + h, y + labels.HEIGHT / 2)
        for (x, y), h in zip(centres, half, strict=True)
    ]


def overlap(first, second):
    across = min(first[2], second[2]) - max(first[0], second[0])
    return across > 0 and min(first[3], second[3]) > max(first[1], second[1])


def test_labels_of_a_crowd_hide_nothing():
    points = [(100.0, 100.0), (108.0, 104.0), (116.0, 100.0), (104.0, 112.0), (396.0, 4.0)]
    texts = ["0.03", "0.1", "0.3", "1", "0.03"]
    found = boxes(labels.place(points, texts, 400, 200), texts)
    assert not any(overlap(a, b) for a, b in combinations(found, 2))
    marks = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    assert not any(overlap(label, mark) for label in found for mark in marks)
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= 400 and box[3] <= 200 for box in found)
