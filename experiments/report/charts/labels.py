"""Places for labels beside points, so that they hide neither points nor each other."""

from collections.abc import Sequence

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

HEIGHT = 12
WIDTH_OF_LETTER = 6.5
POINT = 6  # half the side of the box that a point takes
STEP = 8  # sideways, however long the label is: far from its point it would seem another's
# Where a label lies from its point: near ones and right ones first.
DIRECTIONS = [(1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1), (1, 0), (-1, 0)]
DISTANCES = (1, 2, 3)


def place(
    points: Sequence[tuple[float, float]], texts: Sequence[str], width: float, height: float
) -> list[tuple[float, float]]:
    """The centre of each point's label, [n] of (x, y) in pixels, y downwards.

    Greedy, in the points' order: of 24 places round the point the first that overlaps least with
    points, labels placed before and the outside of the width x height picture.
    """
    taken = [(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in points]
    centres = []
    for point, text in zip(points, texts, strict=True):
        candidates = list(_candidates(point, text))
        best = min(candidates, key=lambda centre: _cost(_box(centre, text), taken, width, height))
        taken.append(_box(best, text))
        centres.append(best)
    return centres


def _candidates(point: tuple[float, float], text: str):
    for distance in DISTANCES:
        for right, down in DIRECTIONS:
            reach_x = POINT + WIDTH_OF_LETTER * len(text) / 2 + STEP * (distance - 1)
            reach_y = (POINT + HEIGHT / 2 - 2) * distance
            yield point[0] + reach_x * right, point[1] + reach_y * down


def _box(centre: tuple[float, float], text: str) -> Box:
    half = WIDTH_OF_LETTER * len(text) / 2
    return (centre[0] - half, centre[1] - HEIGHT / 2, centre[0] + half, centre[1] + HEIGHT / 2)


def _cost(box: Box, taken: Sequence[Box], width: float, height: float) -> float:
    inside = _overlap(box, (0, 0, width, height))
    outside = (box[2] - box[0]) * (box[3] - box[1]) - inside
    return sum(_overlap(box, other) for other in taken) + 10 * outside


def _overlap(first: Box, second: Box) -> float:
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    return max(across, 0) * max(down, 0)
